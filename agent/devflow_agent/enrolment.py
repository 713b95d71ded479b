"""The steps by which a developer opts in: choose a server, sign in, link a project - each on its own.

Nothing here sends an event; ``sync`` does, once all three are done and sync is on.
"""

from __future__ import annotations

import platform

import msgspec
import requests

from devflow import wire
from devflow.errors import Invalid
from devflow_agent import authors, credentials, outbox, remote
from devflow_agent.config import Home
from devflow_agent.credentials import Account, Credentials
from devflow_agent.remote import Remote
from devflow_agent.settings import Settings
from devflow_agent.store import Project, Store


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
            device_name=platform.node()[:100] or "unnamed PC",
        )
        tokens = remote.login(http, server, form)
        account = Account(
            user_id=tokens.user_id,
            email=email,
            token=tokens.token,
            refresh_token=tokens.refresh_token,
            expires_at=tokens.expires_at,
        )
        credentials.save(home.credentials, msgspec.structs.replace(server, account=account))
    return account


def link(
    home: Home, store: Store, http: requests.Session, project: Project, wanted: str | None
) -> wire.Project:
    """Let ``project`` report to the server's project with the id or name ``wanted``, and switch sync on.

    Without ``wanted`` the only choice is taken; raise Invalid naming the choices otherwise.
    The server also learns which commit authors are the person signed in.
    """
    server = Remote(home.credentials, http)
    chosen = _choose(server.projects(), wanted)
    linked = [one for one in store.projects() if one.remote_id is not None]
    keys = authors.keys([*(one.path for one in linked), project.path])
    server.tell_authors(wire.Authors(authors=list(keys)))
    outbox.link(store, project.id, chosen)
    authors.remember(store, keys)
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
