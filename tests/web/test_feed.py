"""The feed and the trace of one event: the own alone, others as days."""

from __future__ import annotations

import csv
import io
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from devflow import own_feed, pseudonyms, wire
from devflow.models import Event
from tests import build
from tests.browsing import Team, one, soup, text
from tests.web.test_live import address, save, stream, told


def own_rows(team: Team, name: str, query: str = "") -> list[list[str]]:
    page = soup(team.browser(name).get(f"/feed{query}"))
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in page.select("#own tbody tr")
    ]


def test_each_reads_the_own_events_and_of_others_days(team: Team) -> None:
    save(team, "bobs-secret.py")
    team.report("bob", (build.NOW_MS, build.commit(team.people["bob"].author, "x.py", insertions=3)))
    team.report("cem", (build.NOW_MS, build.saved("cems.py")))
    assert [row[1:4] for row in own_rows(team, "bob")] == [
        ["Commit", own_rows(team, "bob")[0][2], "atlas"],
        ["File saved", "bobs-secret.py", "atlas"],
    ]
    for name in ("cem", "ada", "eve"):
        assert "bobs-secret" not in team.browser(name).get("/feed").text
    page = soup(team.browser("cem").get("/feed"))
    assert "1 commit, 1 save by 1 person" in text(page, "#others")
    assert "Bob" not in text(page, "#others")
    assert "1 commit, 2 saves by 2 people" in text(soup(team.browser("ada").get("/feed")), "#others")
    assert soup(team.browser("eve").get("/feed")).select("#own, #others") == []


def test_what_was_sent_without_names_is_shown_as_such(team: Team) -> None:
    old, new = (pseudonyms.of_path(bytes(32), path) for path in ("old.py", "notes"))
    tag, bob = pseudonyms.of_ref(bytes(32), "v1"), team.people["bob"].author
    team.report("bob", (build.NOW_MS, wire.FileRenamed(path=new, old_path=old)))
    team.report("bob", (build.NOW_MS - 1_000, wire.TagCreated(tag=tag, sha="a" * 40, author=bob)))
    team.report("bob", (build.NOW_MS - 2_000, wire.FileRenamed(path="b → c.py", old_path=old)))
    expected = [
        f"a file not named ({old[:5]}…, .py) → a file not named ({new[:5]}…)",
        f"a tag not named ({tag[:5]}…)",
        f"a file not named ({old[:5]}…, .py) → b → c.py",
    ]
    assert [row[2] for row in own_rows(team, "bob")] == expected
    answer = team.browser("bob").get("/feed?export=events")
    assert [row["about"] for row in csv.DictReader(io.StringIO(answer.text))] == expected


def test_filters_stand_in_the_address(team: Team) -> None:
    save(team, "a.py")
    team.report("bob", (build.NOW_MS, build.commit(team.people["bob"].author, "x.py")))
    other = team.world.project("borealis", team.people["bob"])
    team.world.report(team.people["bob"], other, (build.NOW_MS, build.saved("b.py")))
    assert len(own_rows(team, "bob")) == 3
    assert [row[2] for row in own_rows(team, "bob", f"?project={other.public_id}")] == ["b.py"]
    assert [row[1] for row in own_rows(team, "bob", "?type=git.commit&project=")] == ["Commit"]
    assert [row[2] for row in own_rows(team, "bob", "?sort=events.about&type=file.saved")] == ["a.py", "b.py"]
    bob = team.browser("bob")
    assert bob.get("/feed?type=keys.pressed").status_code == 400
    assert bob.get("/feed?project=x").status_code == 400
    hidden = team.world.project("hidden", team.people["cem"])
    assert bob.get(f"/feed?project={hidden.public_id}").status_code == 404
    exported = list(csv.DictReader(io.StringIO(bob.get("/feed?type=file.saved&export=events").text)))
    assert {row["about"] for row in exported} == {"a.py", "b.py"}


def test_the_feed_is_live_for_its_owner(team: Team) -> None:
    bob = team.browser("bob")
    with stream(bob, address(bob, "/feed")) as chunks:
        next(chunks)
        save(team, "just-now.py")
        _, panels = told(chunks)
    team.context.hub.end()
    assert "just-now.py" in panels["#own"].get_text()


def events(team: Team) -> list[UUID]:
    with team.world.reading() as session:
        return [UUID(bytes=each) for each in session.scalars(select(Event.event_id).order_by(Event.seq))]


def test_a_trace_tells_what_the_server_has_and_where_it_counts(team: Team) -> None:
    at = build.NOW_MS - build.DAY_MS
    team.report("bob", (at, build.commit(team.people["bob"].author, "x.py", insertions=3, deletions=1)))
    (event_id,) = events(team)
    bob = team.browser("bob")
    for query in (f"?id={event_id}", f"?id={event_id}&day=2026-11-18", f"?id={str(event_id).upper()}"):
        said = text(soup(bob.get(f"/trace{query}")), "section[aria-labelledby=found-title]")
        assert "atlas" in said and "a PC" in said and "Counts for you" in said
        assert "the hour from Nov 18, 2026, 3:00" in said
        assert "1 event, 1 commit, +3 −1" in said  # noqa: RUF001 - the minus sign of the page
    assert bob.get(f"/trace?id={event_id}&day=2026-11-17").status_code == 404


def test_an_event_of_somebody_else_looks_like_one_that_is_not_there(team: Team) -> None:
    save(team)
    team.report("bob", (build.NOW_MS, build.commit(team.people["bob"].author, "x.py")))
    nothing = uuid4()
    for name in ("cem", "ada", "eve"):
        browser = team.browser(name)
        for day in ("", "&day=2026-11-19"):
            plain = []
            for event_id in (*events(team), nothing):
                answer = browser.get(f"/trace?id={event_id}{day}")
                assert answer.status_code == 404
                plain.append(soup(answer).select_one("main").get_text())  # type: ignore[union-attr]
            assert len(set(plain)) == 1


def test_a_commit_of_ones_own_that_a_colleagues_pc_reported_can_be_traced(team: Team) -> None:
    team.context.database.transact(lambda session: None)
    bob = team.people["bob"]
    event = team.world.event(bob, team.project, build.commit(team.people["bob"].author, "x.py"), build.NOW_MS)
    team.world.send(bob, event)
    cem = team.browser("cem")
    with team.world.database.writing() as session:
        session.scalars(select(Event)).one().person_id = team.people["cem"].id
    said = text(soup(cem.get(f"/trace?id={event.id}&day=2026-11-19")), "section[aria-labelledby=found-title]")
    assert "a colleague's PC" in said and "Counts for you" in said
    assert "a PC, number" not in said


def test_what_was_refused_as_conflict_is_said(team: Team) -> None:
    bob, event_id = team.people["bob"], uuid4()
    for path in ("a.py", "b.py"):
        team.world.send(bob, team.world.event(bob, team.project, build.saved(path), build.NOW_MS, event_id))
    page = soup(team.browser("bob").get(f"/trace?id={event_id}"))
    assert "a.py" in text(page, "section[aria-labelledby=found-title]")
    assert "other contents under this id" in text(page, "section[aria-labelledby=refused-title]")
    assert "other contents" not in team.browser("cem").get(f"/trace?id={event_id}").text


def test_the_day_is_asked_for_where_more_was_sent_since_than_is_looked_through(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_feed, "LOOKED_AT", 1)
    save(team, "a.py")
    save(team, "b.py")
    bob, (old, _) = team.browser("bob"), events(team)
    answer = bob.get(f"/trace?id={old}")
    assert answer.status_code == 404
    assert "Give the day" in text(soup(answer), ".empty")
    assert "a.py" in text(soup(bob.get(f"/trace?id={old}&day=2026-11-19")), "h2")


@pytest.mark.parametrize("query", ["?id=x", "?id=%00", f"?id={'1' * 500}", f"?id={UUID(int=1)}&day=tomorrow"])
def test_what_is_no_id_or_no_day_is_answered_so(team: Team, query: str) -> None:
    assert team.browser("bob").get(f"/trace{query}").status_code == 400


def test_the_page_without_an_id_asks_for_one(team: Team) -> None:
    page = soup(team.browser("bob").get("/trace"))
    assert one(page, "form input[name=id]")["value"] == ""
