"""Text that tries to be more than text, and a way to put it in every place that holds text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Column, LargeBinary, String, Table, select, update
from sqlalchemy.orm import Session

from devflow import wire
from devflow.accounts import people
from devflow.crypto import Vault
from devflow.ingest import files
from devflow.models import Base, BrowserSession, Device, File, Pairing, Person, ProjectMember, Role
from tests import build
from tests.browsing import Team

ASKED: Final = "/hacked"
"""What a script or an element of ours would ask for."""
MARK: Final = "data-hacked"
"""The attribute that an element of ours would have."""
PRODUCT: Final = str(7919 * 7919)
"""What a template of ours would show."""

STRINGS: Final = (
    f"<script {MARK}>fetch('{ASKED}')</script>",
    f"\"><img {MARK} src={ASKED} onerror=fetch('{ASKED}')>",
    f"'><svg {MARK} onload=fetch('{ASKED}')>",
    f"\" onfocus=fetch('{ASKED}') autofocus {MARK}=\"",
    f"' onmouseover=fetch('{ASKED}') {MARK}='",
    f"</title></textarea></style></script><img {MARK} src={ASKED}>",
    f"<b {MARK} hx-get={ASKED} hx-trigger=load hx-swap=outerHTML>x</b>",
    f"<i {MARK} data-hx-get={ASKED} data-hx-trigger=load hx-nonce=x>x</i>",
    f"<u {MARK} hx-on:htmx:after:init=fetch('{ASKED}')>x</u>",
    f"<meta {MARK} http-equiv=refresh content=0;url={ASKED}><base href=//evil.example>",
    f"javascript:fetch('{ASKED}')",
    "{{ 7919*7919 }}${7919*7919}#{7919*7919}<%= 7919*7919 %>{% raw %}",
    '=HYPERLINK("http://evil.example","x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "%(name)s %s {0} {name} %n",
    "&lt;b&gt;&#x3c;script&#x3e; %3Cscript%3E \\u003cscript\\u003e",
    "../../../etc/passwd?a=1&b=2#c",
    "\u202egnp.exe\u2066\u2067 admin \u202d1",
    "a\x07b\x1b[31mc\x08d\u200be\ufefff\u2028g\u2029h\x85i",
    "W" * 100,
    "\N{LATIN SMALL LETTER I}" * 50 + "\u00ad" + "m" * 49,
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 (\u05d0) 123 - abc",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 10,
    ("Z" + "\u0353\u033b\u0489\u0363\u036b") * 16,
)

TOGETHER: Final = (
    "".join(text for text in STRINGS if MARK in text or ASKED in text),
    "".join(text for text in STRINGS if not (MARK in text or ASKED in text) and "WWW" not in text),
    "W" * 300,
)
"""All of them in few strings, for where it takes a whole request to say one."""
AT_ONCE: Final = "".join(TOGETHER)
"""In one, for where it takes two pages to say one and a field holds it whole."""

# Text columns that hold words of our own, each with the reason.
OUR_WORDS: Final = {
    "workspace.timezone": "checked against the known zones at the start",
    "workspace.audit_flaw": "our own sentence, of numbers",
    "keys.purpose": "one of a few words",
    "people.password_hash": "made by argon2, and shown nowhere",
    "people.role": "a Role",
    "team_members.role": "a Role",
    "project_members.role": "a Role",
    "links.role": "a Role",
    "links.team_role": "a Role",
    "links.project_role": "a Role",
    "links.purpose": "a Purpose",
    "audit.act": "an Act",
    "audit.detail": "ids, counts and our own words, by the rule of audit.record",
    "cells.grain": "a Grain",
    "next_cells.grain": "a Grain",
    "next_calendar.timezone": "checked against the known zones at the start",
    "slices.dimension": "a Dimension",
    "shared_settings.key": "one of wire.SHARED_SETTINGS",
    "shared_settings.value": "JSON of a number, true, false, null or a mode, by the type of its key",
}
# Binary columns that hold text, sealed; the others hold none.
SEALED: Final = frozenset({"people.email", "files.path", "events.data"})
NO_TEXT: Final = frozenset(
    {
        "workspace.kdf_salt",
        "workspace.audit_head",
        "workspace.audit_seal",
        "keys.sealed",
        "kept_answers.key",
        "kept_answers.value",
        "people.email_key",
        "person_authors.author_key",
        "second_factors.secret",
        "recovery_codes.code_hash",
        "links.token_hash",
        "sessions.token_hash",
        "refresh_tokens.token_hash",
        "pairings.secret_hash",
        "pairings.code_hash",
        "audit.hash",
        "files.path_key",
        "events.event_id",
        "events.author_key",
        "events.files",
        "cells.files",
        "next_cells.files",
        "slices.files",
    }
)


def text_columns() -> Iterator[Column[Any]]:
    """The columns that hold what somebody wrote."""
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, String) and str(column) not in OUR_WORDS:
                yield column


def binary_columns() -> set[str]:
    return {
        str(column)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }


def populate(team: Team) -> None:
    """As many rows of all that has a name as there are strings; Bob leads whatever there is to lead."""
    world = team.world
    members = [world.person(f"P{number}") for number in range(len(STRINGS))]
    bob = team.people["bob"]
    for number, member in enumerate(members):
        world.team(f"team {number}", {bob: Role.MANAGER, member: Role.DEVELOPER})
        world.project(f"project {number}", bob, member, roles={bob: Role.MANAGER, member: Role.MANAGER})
    events: list[tuple[int, wire.EventData]] = []
    for number, text in enumerate(STRINGS):
        at = build.NOW_MS - number * build.MINUTE_MS
        events.append((at, build.saved(text)))
        events.append((at, wire.BranchSwitched(branch=text, previous=text)))
        events.append((at, build.commit(bob.author, text)))
    team.report("bob", *events)
    with world.database.writing() as session:
        session.add(ProjectMember(project_id=team.project.id, person_id=members[0].id, role=Role.DEVELOPER))
        for number in range(len(STRINGS)):
            session.add_all(_more(number, bob.id))
    # Names of files and branches are shown of what three people did.
    saves = [event for event in events if isinstance(event[1], wire.FileSaved)]
    for member in (team.people["cem"], members[0]):
        world.report(member, team.project, *saves)
    world.refresh()


def _more(number: int, person_id: int) -> Iterator[Base]:
    """A browser session, a pairing and a PC of the person's."""
    at, bits = build.NOW_MS, bytes([number]) * 32
    yield BrowserSession(
        public_id=uuid4(),
        token_hash=bits,
        person_id=person_id,
        token_version=1,
        needs_code=False,
        browser="",
        created_at=at,
        seen_at=at,
    )
    yield Pairing(
        secret_hash=bits,
        code_hash=bits,
        device_public_id=uuid4(),
        device_name="",
        created_at=at,
        expires_at=at + build.DAY_MS,
    )
    yield Device(public_id=uuid4(), person_id=person_id, name="", created_at=at)


def plant(team: Team) -> None:
    """Write the strings over every text there is, past all that would refuse them."""
    with team.world.database.writing() as session:
        for number, column in enumerate(text_columns()):
            _plant_column(session, column, number)
        _plant_sealed(session, team.world.vault)


def _plant_column(session: Session, column: Column[Any], shift: int) -> None:
    table = column.table
    assert isinstance(table, Table)
    keys = list(table.primary_key.columns)
    found = session.execute(select(*keys).order_by(*keys)).all()
    assert len(found) >= len(STRINGS), f"expected rows of {table.name} to write in: add some to populate()"
    for number, key in enumerate(found):
        # Shifted, so that a row has another string in each of its columns.
        turn, text = divmod(number + shift, len(STRINGS))
        session.execute(
            update(table)
            .where(*(each == value for each, value in zip(keys, key, strict=True)))
            .values({column: _unique(STRINGS[text], turn) if column.unique else STRINGS[text]})
        )


def _unique(text: str, turn: int) -> str:
    return f"{text[:98]} {turn}" if turn else text


def _plant_sealed(session: Session, vault: Vault) -> None:
    """E-mail addresses; paths and branches came by events. Who signs in is found by a hash, as before."""
    for number, person in enumerate(session.scalars(select(Person).order_by(Person.id))):
        text = STRINGS[number % len(STRINGS)] + "@example.org"
        person.email = vault.seal(people.EMAIL, person.public_id.bytes, text.encode())
    paths = {
        vault.open(files.PATH, file.path_key, file.path).decode() for file in session.scalars(select(File))
    }
    assert set(STRINGS) <= paths
