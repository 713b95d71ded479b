"""Takes sync away from this PC, step by step: each is done once, and what is recorded stays.

The steps go from what can be taken back to what cannot. What is done is seen from what is left, so that
a removal that failed in the middle goes on where it was.
"""

from __future__ import annotations

from enum import StrEnum

import requests

from devflow import wire
from devflow.errors import Invalid
from devflow_agent import credentials, enrolment, outbox
from devflow_agent.config import Home
from devflow_agent.remote import Remote
from devflow_agent.settings import Settings
from devflow_agent.store import Store
from devflow_agent.sync import one_sender

_ASKED = "removal_due_at"


class Step(StrEnum):
    """In order. ``account`` is on the server, all others on this PC."""

    DISABLE = "disable"
    ACCOUNT = "account"
    SIGN_OUT = "sign out"
    LOCAL = "local data"


def left(home: Home, store: Store, *, keep_account: bool) -> list[Step]:
    """What is still to be done, in order."""
    server = credentials.load(home.credentials)
    account = None if server is None else server.account
    steps = [Step.DISABLE] if Settings.load(store).sync_enabled else []
    if server is not None and not keep_account and store.setting(_ASKED) is None:
        steps.append(Step.ACCOUNT)
    if account is not None:
        steps.append(Step.SIGN_OUT)
    if server is not None or outbox.knows_anything(store):
        steps.append(Step.LOCAL)
    return steps


def disable(store: Store) -> None:
    Settings.load(store).changed(enabled=False).save_sync(store)


def ask_deletion(home: Home, store: Store, http: requests.Session, password: str) -> int:
    """Ask the server to delete the account; return when it will, in Unix milliseconds.

    Raise Unauthorized if nobody is signed in, Invalid for another password, Offline if it did not answer.
    """
    due_at = Remote(home.credentials, http).ask_deletion(wire.AskDeletion(password=password)).due_at
    store.set_settings(**{_ASKED: due_at})
    return due_at


def sign_out(home: Home, http: requests.Session) -> None:
    """End the tokens on the server and here. Raise Offline, with nothing changed, if it cannot be asked."""
    enrolment.sign_out(home, http)


def delete_local(home: Home, store: Store) -> None:
    """Delete credentials, links and everything sync wrote; raise Busy while something is being sent."""
    with one_sender(home.sync_lock), credentials.changing(home.credentials):
        if Settings.load(store).sync_enabled:
            raise Invalid("sync was switched on meanwhile: start again")
        home.credentials.unlink(missing_ok=True)
        outbox.forget(store)
