"""Browser sessions: when they end by themselves, who ends them, and what a browser is called."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from devflow.accounts import browsers, people, sessions, sign_in
from devflow.audit import Act, Actor
from devflow.errors import NotFound, Unauthorized
from devflow.models import AuditEntry, BrowserSession, Person
from tests.build import DAY_MS, MINUTE_MS, NOW_MS, PASSWORD, Member, World

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def begin(world: World, member: Member, *, at: int = NOW_MS, needs_code: bool = False) -> str:
    with world.database.writing() as session:
        by = Actor(None, at, world.vault)
        person = session.get_one(Person, member.id)
        return sessions.begin(session, by, person, FIREFOX, needs_code=needs_code)


def is_in(world: World, token: str, at: int = NOW_MS, *, needs_code: bool = False) -> bool:
    with world.reading() as session:
        return sessions.find(session, token, at, needs_code=needs_code) is not None


def visit(world: World, token: str, at: int) -> bool:
    """Open a page at the time, as a browser does; whether that was as somebody."""
    with world.database.writing() as session:
        found = sessions.find(session, token, at)
        if found is not None and sessions.is_due(found, at):
            sessions.touch(session, found, at)
        return found is not None


def test_a_session_ends_after_three_days_without_a_visit(world: World) -> None:
    token = begin(world, world.person("Ada"))
    assert visit(world, token, NOW_MS + 3 * DAY_MS - 1)
    assert visit(world, token, NOW_MS + 6 * DAY_MS - 2)
    assert not visit(world, token, NOW_MS + 9 * DAY_MS - 2)


def test_a_session_ends_after_thirty_days_however_busy_it_is(world: World) -> None:
    token = begin(world, world.person("Ada"))
    days = [visit(world, token, NOW_MS + day * DAY_MS) for day in range(1, 32)]
    assert days == [True] * 29 + [False] * 2


def test_a_browser_has_ten_minutes_for_the_code_and_opens_nothing_else_meanwhile(world: World) -> None:
    token = begin(world, world.person("Ada"), needs_code=True)
    assert not is_in(world, token)
    assert is_in(world, token, NOW_MS + 10 * MINUTE_MS - 1, needs_code=True)
    assert not is_in(world, token, NOW_MS + 10 * MINUTE_MS, needs_code=True)
    assert not is_in(world, begin(world, world.member("Ada")), needs_code=True)


def test_deactivating_a_person_or_moving_the_token_version_ends_the_sessions(world: World) -> None:
    ada, bob, eve = world.person("Ada"), world.person("Bob"), world.person("Eve")
    tokens = [begin(world, each) for each in (ada, bob, eve)]
    with world.database.writing() as session:
        session.get_one(Person, ada.id).deactivated_at = NOW_MS
        session.get_one(Person, bob.id).token_version += 1
    assert [is_in(world, token) for token in tokens] == [False, False, True]
    with world.database.writing() as session:
        session.get_one(Person, ada.id).deactivated_at = None
        sessions.end_all(session, session.get_one(Person, eve.id))
    assert [is_in(world, token) for token in tokens] == [True, False, False]


def test_expired_sessions_are_not_kept(world: World) -> None:
    ada = world.person("Ada")
    begin(world, ada, at=NOW_MS - 30 * DAY_MS)
    begin(world, ada, at=NOW_MS - 10 * MINUTE_MS, needs_code=True)
    kept = begin(world, ada)
    with world.reading() as session:
        assert len(session.scalars(select(BrowserSession.id)).all()) == 1
    assert is_in(world, kept)


def test_the_open_sessions_are_the_own_that_still_open_something(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    begin(world, ada, at=NOW_MS - 29 * DAY_MS)  # idle since
    older, newer = begin(world, ada, at=NOW_MS - DAY_MS), begin(world, ada)
    begin(world, ada, needs_code=True)
    begin(world, bob)
    with world.reading() as session:
        found = sessions.open_ones(session, session.get_one(Person, ada.id), NOW_MS)
        wanted = [sessions.find(session, token, NOW_MS) for token in (newer, older)]
        assert [one.id for one in found] == [one.session.id for one in wanted if one is not None]
        assert {one.browser for one in found} == {"Firefox on Linux"}


def test_one_ends_the_own_sessions_only(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    of_ada, of_bob = begin(world, ada), begin(world, bob)
    with world.reading() as session:
        ids = dict(session.execute(select(BrowserSession.person_id, BrowserSession.public_id)).all())
    with pytest.raises(NotFound), world.database.writing() as session:
        sessions.end_one(session, world.by(session, bob), ids[ada.id])
    assert is_in(world, of_ada)
    with world.database.writing() as session:
        sessions.end_one(session, world.by(session, ada), ids[ada.id])
    assert (is_in(world, of_ada), is_in(world, of_bob)) == (False, True)
    with world.reading() as session:
        last = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
        assert last is not None
        assert (last.act, last.subject, last.actor) == (Act.SESSION_ENDED, ids[ada.id], ada.public_id)


def test_ending_all_others_keeps_the_one(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    kept, others, of_bob = begin(world, ada), [begin(world, ada) for _ in range(3)], begin(world, bob)
    with world.database.writing() as session:
        assert sessions.end_others(session, world.by(session, ada), kept) == 3
    assert [is_in(world, token) for token in (kept, of_bob, *others)] == [True, True, False, False, False]


@pytest.mark.parametrize("end_programs", [False, True])
def test_a_new_password_leaves_this_session_under_a_new_token(world: World, end_programs: bool) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    kept, other, of_bob = begin(world, ada), begin(world, ada), begin(world, bob)
    half = begin(world, ada, needs_code=True)
    with world.database.writing() as session:
        by = world.by(session, ada)
        renewed = people.change_password(session, by, "a hash", kept, end_programs=end_programs)
    assert is_in(world, renewed) and is_in(world, of_bob)
    assert not is_in(world, kept) and not is_in(world, other)
    assert not is_in(world, half, needs_code=True)
    with world.reading() as session:
        person = session.get_one(Person, ada.id)
        assert (person.password_hash, person.token_version) == ("a hash", 1 + end_programs)


def test_nobody_is_let_in_by_a_password_that_was_changed_or_an_account_that_was_closed_meanwhile(
    world: World,
) -> None:
    ada, bob, eve = world.person("Ada"), world.person("Bob"), world.person("Eve")
    with world.reading() as session:
        found = [sign_in.candidate(session, world.vault, each.email) for each in (ada, bob, eve)]
    for each in found:
        each.check(PASSWORD)
    with world.database.writing() as session:
        session.get_one(Person, ada.id).password_hash = "another"
        session.get_one(Person, bob.id).deactivated_at = NOW_MS
    for each in found[:2]:
        with pytest.raises(Unauthorized), world.database.writing() as session:
            sign_in.let_in(session, each)
    with world.database.writing() as session:
        assert sign_in.let_in(session, found[2]).id == eve.id


def test_a_session_that_has_just_ended_is_not_renewed(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    of_bob = begin(world, bob)
    for token in ("guess", of_bob):
        with pytest.raises(NotFound), world.database.writing() as session:
            sessions.keep_only(session, world.by(session, ada), token)
    assert is_in(world, of_bob)


@pytest.mark.parametrize(
    ("user_agent", "label"),
    [
        (FIREFOX, "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.5 Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "CriOS/139.0 Mobile/15E148 Safari/604.1",
            "Chrome on an iPhone",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 "
            "Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/139.0.0.0 Safari/537.36",
            "Chrome on ChromeOS",
        ),
        ("curl/8.5.0", "Another browser"),
        ("<script>alert(1)</script> Linux", "Another browser on Linux"),
        ("", "Another browser"),
        ("\x00\x1b[31m" * 1_000, "Another browser"),
    ],
)
def test_a_browser_is_called_by_words_of_ours(user_agent: str, label: str) -> None:
    assert browsers.label(user_agent) == label
