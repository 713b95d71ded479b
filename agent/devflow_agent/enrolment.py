"""The steps by which a developer opts in: choose a server, sign in, link a project - each on its own.

Nothing here sends an event; ``sync`` does, once all three are done and sync is on.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import requests

from devflow import wire
from devflow.errors import Invalid, Offline, Unauthorized
from devflow_agent import authors, credentials, outbox, remote
from devflow_agent.config import Home, now_ms
from devflow_agent.credentials import Account, Credentials
from devflow_agent.remote import Remote, Unavailable
from devflow_agent.settings import Settings
from devflow_agent.store import Level, Project, Store

LONGEST_PAIRING_S: Final = 3_600.0
"""A server that answers ends a pairing by itself; this is for one that no longer does."""
FASTEST_POLL_S: Final = 1.0


def enrol(
    home: Home, store: Store, http: requests.Session, url: str, *, insecure_http: bool = False
) -> Credentials:
    """Make the server at ``url`` the one this PC reports to, after asking it who it is.

    A token is for one address only: another one signs out. A server with another id has
    none of the events, so everything waits again and projects must be linked anew.
    """
    url = credentials.checked_url(url, insecure_http=insecure_http)
    server_id = remote.identify(http, url)
    with credentials.changing(home.credentials):
        before = credentials.load(home.credentials)
        server = Credentials(server_url=url, server_id=server_id, insecure_http=insecure_http)
        if before is not None and (before.server_url, before.server_id) == (url, server_id):
            server = msgspec.structs.replace(server, account=before.account)
        # First the store: a crash in between repeats the step instead of skipping it.
        outbox.report_to(store, server_id)
        credentials.save(home.credentials, server)
    return server


def sign_in(
    home: Home, store: Store, http: requests.Session, email: str, password: str, code: str | None = None
) -> Account:
    """Raise Unauthorized if the server does not know this e-mail and password.

    CodeNeeded, which is one of them, if it asks for a code of the second factor, or for another one.
    """
    with credentials.changing(home.credentials):
        server = credentials.enrolled(home.credentials)
        # Checked again: the file may have been edited since.
        credentials.checked_url(server.server_url, insecure_http=server.insecure_http)
        form = wire.Login(
            email=email,
            password=password,
            code=code,
            device_id=store.device_id(),
            device_name=device_name(),
        )
        return _keep(home, store, server, remote.login(http, server, form), email)


def pair(
    home: Home,
    store: Store,
    http: requests.Session,
    *,
    on_code: Callable[[wire.Pairing], None],
    wait: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Account:
    """Sign in without a password: ``on_code`` gets what the owner types into the browser.

    Waits for the answer, and leaves everything as it was unless that is yes. Raise Unauthorized
    if it is no, or if none comes in time.
    """
    server = credentials.enrolled(home.credentials)
    credentials.checked_url(server.server_url, insecure_http=server.insecure_http)
    form = wire.Pair(device_id=store.device_id(), device_name=device_name())
    begun = remote.start_pairing(http, server, form)
    on_code(begun)
    tokens, email = _awaited(http, server, begun, wait, monotonic)
    with credentials.changing(home.credentials):
        now_there = credentials.enrolled(home.credentials)
        if (now_there.server_url, now_there.server_id) != (server.server_url, server.server_id):
            raise Unauthorized("this PC was enrolled with another server meanwhile: start again")
        return _keep(home, store, now_there, tokens, email)


def _awaited(
    http: requests.Session,
    server: Credentials,
    begun: wire.Pairing,
    wait: Callable[[float], None],
    monotonic: Callable[[], float],
) -> tuple[wire.Tokens, str]:
    """The tokens and the e-mail address of who let this PC in. A server that is away is asked again."""
    give_up, trouble = monotonic() + LONGEST_PAIRING_S, ""
    pause_s = float(begun.interval_s)
    while monotonic() < give_up:
        wait(max(pause_s, FASTEST_POLL_S))
        pause_s = float(begun.interval_s)
        try:
            answer = remote.paired(http, server, begun.secret)
        except Unauthorized as error:
            raise Unauthorized(
                f"this PC was not let in ({error}): run `devflow sync auth` for a new code"
            ) from error
        except Offline as error:
            trouble = str(error)
            if isinstance(error, Unavailable):
                pause_s = max(pause_s, error.retry_after_s or 0.0)
            continue
        match answer.state:
            case wire.PairingState.DENIED:
                raise Unauthorized("this PC was turned away in the browser")
            case wire.PairingState.APPROVED if answer.tokens is not None:
                return answer.tokens, answer.email or str(answer.tokens.user_id)
    trouble = trouble or "the server did not say so"
    raise Offline(f"the code has expired ({trouble}): run `devflow sync auth` again")


def _keep(home: Home, store: Store, server: Credentials, tokens: wire.Tokens, email: str) -> Account:
    # To the server commits by the log-in address are the person's, so to this PC they are too.
    authors.remember(store, [wire.author_key(email)])
    account = Account(
        user_id=tokens.user_id,
        email=email,
        token=tokens.token,
        refresh_token=tokens.refresh_token,
        expires_at=tokens.expires_at,
    )
    credentials.save(home.credentials, msgspec.structs.replace(server, account=account))
    store.set_settings(sync_signed_in_at=now_ms())  # the daemon goes on
    return account


def device_name() -> str:
    """What this PC calls itself, as far as it can be shown."""
    shown = "".join(character for character in platform.node() if character.isprintable())
    return " ".join(shown.split())[:100].strip() or "unnamed PC"


def sign_out(home: Home, http: requests.Session, *, only_here: bool = False) -> Account:
    """End this PC's tokens on the server, and delete them here; return whose they were.

    With ``only_here`` the server is not asked. Raise Offline, with nothing changed, if it cannot be.
    """
    account = credentials.enrolled(home.credentials).signed_in()
    if not only_here:
        with suppress(Unauthorized):  # it has ended them before us
            Remote(home.credentials, http).log_out()
    forget(home, account)
    return account


def forget(home: Home, account: Account) -> None:
    """Delete the tokens on this PC, unless somebody else has signed in meanwhile."""
    with credentials.changing(home.credentials):
        server = credentials.load(home.credentials)
        if server is not None and server.account is not None and server.account.user_id == account.user_id:
            credentials.save(home.credentials, msgspec.structs.replace(server, account=None))


def link(
    home: Home,
    store: Store,
    http: requests.Session,
    project: Project,
    wanted: str | None,
    *,
    switch_on: bool = True,
) -> wire.Project:
    """Let ``project`` report to the server's project with the id or name ``wanted``, and switch sync on.

    Without ``switch_on`` sync stays as it is: what would be sent can be looked at first.
    Without ``wanted`` the only choice is taken; raise Invalid naming the choices otherwise.
    The server also learns which commit authors are the person signed in, by projects that share anything.
    """
    if project.level is Level.OFF:
        raise Invalid(
            f"{project.name} shares nothing, by your choice:"
            " `devflow sync share metrics` or `metadata` in its folder changes that"
        )
    server = Remote(home.credentials, http)
    chosen = _choose(server.projects(), wanted)
    linked = [one for one in store.projects() if one.remote_id is not None and one.level is not Level.OFF]
    keys = authors.keys([*(one.path for one in linked), project.path])
    server.tell_authors(wire.Authors(authors=list(keys)))
    outbox.link(store, project.id, chosen)
    authors.remember(store, keys)
    if switch_on:
        Settings.load(store).changed(enabled=True).save_sync(store)
    return chosen


def _choose(choices: list[wire.Project], wanted: str | None) -> wire.Project:
    if not choices:
        raise Invalid("you are not a member of any project on the server: ask your lead or admin to add you")
    if wanted is None and len(choices) == 1:
        return choices[0]
    matching = [one for one in choices if wanted in (str(one.project_id), one.name)]
    if len(matching) == 1:
        return matching[0]
    named = "; ".join(f"{one.project_id} ({one.name})" for one in choices)
    got = "none" if wanted is None else wanted
    raise Invalid(f"expected --project-id to be one of {named}; got {got}")
