"""Exports as they are downloaded: what is in the files, and that they end with the session."""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from devflow import wire
from devflow.accounts import sessions
from devflow.audit import Actor
from devflow.context import Context, now_ms
from devflow.models import AuditEntry, BrowserSession, Event, Person
from devflow.web import streams
from devflow.web.pages.export import BOM, COLUMNS
from devflow.web.streams import Aborted, Admission, Ended
from tests import build
from tests.browsing import Team
from tests.build import World
from tests.server_process import ServerProcess

HOSTILE = [
    '=HYPERLINK("http://evil.example")',
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\ttab",
    "\rreturn",
    "\nline",
    'a "quoted", name.py',
    "two\r\nlines",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}/\N{SNOWMAN}.py",
    "plain.py",
]


def send_saves(team: Team, *paths: str, who: str = "bob") -> None:
    deeds = [(build.NOW_MS + at, build.saved(path)) for at, path in enumerate(paths)]
    for deed in deeds:
        team.world.report(team.people[who], team.project, deed)


def test_json_lines_are_the_events_as_they_were_sent(team: Team) -> None:
    bob = team.people["bob"]
    sent = [team.world.event(bob, team.project, build.saved(path), build.NOW_MS) for path in HOSTILE]
    for event in sent:
        assert team.world.send(bob, event).success
    send_saves(team, "cem.py", who="cem")
    answer = team.browser("bob").get("/me/export.jsonl")
    assert answer.mimetype == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="devflow-events-2026-11-19.jsonl"'
    assert answer.headers["Cache-Control"] == "no-store"
    received = b',"receivedAt":%d}' % build.NOW_MS
    assert answer.get_data() == b"".join(wire.encode(event)[:-1] + received + b"\n" for event in sent)


def test_a_table_shows_every_name_and_calculates_none(team: Team) -> None:
    send_saves(team, *HOSTILE)
    send_saves(team, "cem.py", who="cem")
    answer = team.browser("bob").get("/me/export.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="devflow-events-2026-11-19.csv"'
    body = answer.get_data()
    assert body.startswith(BOM)
    assert body.endswith(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    assert tuple(rows[0]) == COLUMNS
    expected = [f"'{path}" if path[0] in "=+-@\t\r\n" else path for path in HOSTILE]
    assert [row["path"] for row in rows] == expected
    assert [json.loads(row["eventData"])["path"] for row in rows] == HOSTILE
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r\n"))]
    assert rows[0]["time"] == "2026-11-19T14:30:00.000Z"
    assert rows[1]["time"] == "2026-11-19T14:30:00.001Z"
    assert (rows[0]["project"], rows[0]["device"]) == ("atlas", "a PC")


def test_a_project_named_as_a_formula_is_text_in_the_table(team: Team) -> None:
    bob = team.people["bob"]
    project = team.world.project("=1+1", bob)
    team.world.report(bob, project, (build.NOW_MS, build.saved()))
    body = team.browser("bob").get("/me/export.csv").get_data(as_text=True)
    assert ",'=1+1," in body


def test_what_is_damaged_is_named_and_ends_no_export(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    send_saves(team, "a.py", "b.py", "c.py")
    with team.world.database.writing() as session:
        session.execute(update(Event).where(Event.seq == 2).values(data=bytes(60)))
    bob = team.browser("bob")
    lines = [json.loads(line) for line in bob.get("/me/export.jsonl").get_data().splitlines()]
    assert [line["eventData"] and line["eventData"]["path"] for line in lines] == ["a.py", None, "c.py"]
    assert [line.get("unreadable") for line in lines] == [None, True, None]
    table = bob.get("/me/export.csv").get_data().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table, newline=""), strict=True))
    assert [(row["path"], row["unreadable"]) for row in rows] == [("a.py", ""), ("", "true"), ("c.py", "")]
    assert [bool(row["eventData"]) for row in rows] == [True, False, True]
    assert "events.data of row" in caplog.text, "whoever runs the server has to know"


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_who_has_no_events_gets_a_file_without_any(team: Team, form: str) -> None:
    answer = team.browser("eve").get(f"/me/export.{form}")
    assert answer.status_code == 200
    assert answer.get_data() == {"jsonl": b"", "csv": BOM + ",".join(COLUMNS).encode() + b"\r\n"}[form]


@pytest.mark.parametrize("address", ["/me/export.jsonl", "/me/export.csv", "/me/account.json"])
def test_each_export_is_audited_and_is_for_the_one_who_is_signed_in(team: Team, address: str) -> None:
    send_saves(team, "bob.py")
    assert team.browser().get(address).status_code == 302
    before = audited(team)
    for who in ("ada", "bob", "cem", "eve"):
        answer = team.browser(who).get(address).get_data(as_text=True)
        assert ("bob.py" in answer) == (who == "bob" and "export" in address)
    assert audited(team) - before == 4


def audited(team: Team) -> int:
    with team.world.reading() as session:
        return session.query(AuditEntry).filter_by(act="person.data_exported").count()


# The end of a session is the end of its streams


def sign_out_everywhere(session: Session, bob: Person) -> None:
    sessions.end_all(session, bob)


def end_the_session(session: Session, bob: Person) -> None:
    session.query(BrowserSession).filter_by(person_id=bob.id).delete()


def deactivate(session: Session, bob: Person) -> None:
    bob.deactivated_at = build.NOW_MS


ENDINGS = [sign_out_everywhere, end_the_session, deactivate]
MANY = 2_000


@pytest.fixture
def long(team: Team) -> Team:
    deeds = [(build.NOW_MS + at, build.saved(f"{at}.py")) for at in range(MANY)]
    team.world.report(team.people["bob"], team.project, *deeds)
    return team


def begin(team: Team, form: str) -> Any:
    """The answer's chunks, of which nothing but the first was made yet."""
    browser = team.browser("bob")
    return iter(browser.client.get(f"/me/export.{form}", buffered=False).iter_encoded())


def change(team: Team, ending: Callable[[Session, Person], None]) -> None:
    with team.world.database.writing() as session:
        ending(session, session.get_one(Person, team.people["bob"].id))


@pytest.mark.parametrize("ending", ENDINGS)
def test_json_lines_end_with_the_session_and_say_so(
    long: Team, ending: Callable[[Session, Person], None]
) -> None:
    chunks = begin(long, "jsonl")
    first = next(chunks)
    change(long, ending)
    *events, last = (first + b"".join(chunks)).splitlines()
    assert 0 < len(events) < MANY
    assert all("id" in json.loads(event) for event in events)
    assert json.loads(last) == {"error": "this export was cut: its session has ended"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_ends_with_the_session_in_the_middle_of_the_transfer(
    long: Team, ending: Callable[[Session, Person], None]
) -> None:
    chunks = begin(long, "csv")
    next(chunks)
    change(long, ending)
    with pytest.raises(Aborted):
        b"".join(chunks)


def test_a_session_that_goes_on_gets_everything(long: Team) -> None:
    lines = b"".join(begin(long, "jsonl")).splitlines()
    assert len(lines) == MANY
    assert {json.loads(line)["eventData"]["path"] for line in lines} == {f"{at}.py" for at in range(MANY)}


def test_a_stream_holds_no_session_of_the_database(long: Team) -> None:
    chunks = begin(long, "jsonl")
    next(chunks)
    # One writer and sixteen readers are all there are on SQLite; a stream that waits has none.
    assert long.context.database._reader.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert long.context.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_within_a_page_it_is_looked_up_again_only_by_the_clock(team: Team) -> None:
    clock, asked, is_admitted = [build.NOW_MS], [], [True]

    def look(_session: Session) -> bool:
        asked.append(clock[0])
        return is_admitted[0]

    context = replace(team.context, now=lambda: clock[0])
    line = b"x" * streams.CHUNK_BYTES
    chunks = streams.chunks([[line] * 4, [line]], Admission(context, look))
    next(chunks)
    next(chunks)
    assert len(asked) == 1
    clock[0] += streams.CHECK_EVERY_MS
    next(chunks)
    assert len(asked) == 2
    next(chunks)
    assert len(asked) == 2
    next(chunks)  # of the second page
    assert len(asked) == 3
    chunks = streams.chunks([[line] * 4], Admission(context, look))
    next(chunks)
    is_admitted[0] = False
    clock[0] += streams.CHECK_EVERY_MS - 1
    next(chunks)
    clock[0] += 1
    with pytest.raises(Ended):
        next(chunks)


def test_over_a_real_connection_a_cut_table_has_no_end(tmp_path: Path) -> None:
    server, cookie, context = serve_much(tmp_path)
    try:
        whole = read_csv(server, cookie, before_the_rest=lambda: None)
        assert whole.endswith(b"0\r\n\r\n")

        def end() -> None:
            with context.database.writing() as session:
                session.query(BrowserSession).delete()

        cut = read_csv(server, cookie, before_the_rest=end)
        assert cut.startswith(b"HTTP/1.1 200 OK")
        assert 0 < len(cut) < len(whole)
        assert not cut.endswith(b"0\r\n\r\n")
    finally:
        assert server.stop() == 0
        context.database.close()
    assert "Traceback" not in server.printed()


def serve_much(folder: Path) -> tuple[ServerProcess, str, Context]:
    """A server with more events of Bob's than fit into the buffers between it and a client that waits."""
    context, _ = build.context(folder)
    context = replace(context, now=now_ms)
    world = World.of(context)
    bob = world.person("Bob")
    atlas = world.project("atlas", bob)
    long_name = "x" * (wire.MAX_PATH - 10)
    for start in range(0, 4_000, 200):
        deeds = [(build.NOW_MS + at, build.saved(f"{long_name}{at}")) for at in range(start, start + 200)]
        world.report(bob, atlas, *deeds)
    with context.database.writing() as session:
        person = session.get_one(Person, bob.id)
        token = sessions.begin(session, Actor(person, now_ms(), context.vault), person, "a browser")
    server = ServerProcess(context.settings.database, folder, {"DEVFLOW_TIMEZONE": "Europe/Berlin"})
    server.start()
    return server, f"devflow={token}", context


def read_csv(server: ServerProcess, cookie: str, before_the_rest: Callable[[], None]) -> bytes:
    """All bytes of the answer, read slowly at first."""
    assert server.port is not None
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(
            f"GET /me/export.csv HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        received = bytearray(connection.recv(1_024))
        before_the_rest()
        while part := connection.recv(1 << 16):
            received += part
        return bytes(received)
