"""The page of retention: what is kept how long, what a change would delete, and changing it."""

from __future__ import annotations

import json
from typing import Final

import pytest
from sqlalchemy import func, select

from devflow import jobs
from devflow.audit import Act
from devflow.models import AuditEntry, Event, Workspace
from tests.browsing import Team, one, soup, text
from tests.build import DAY_MS, NOW_MS, commit, saved


def days(team: Team) -> int | None:
    with team.context.database.reading() as session:
        return session.get_one(Workspace, 1).retention_days


def events(team: Team) -> int:
    with team.context.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Event)) or 0


@pytest.fixture
def long_running(team: Team) -> Team:
    """A team with events of today and of 100 days ago, which is Aug 11."""
    deeds = [(NOW_MS - 100 * DAY_MS, saved(f"{n}.py")) for n in range(3)]
    team.report("bob", *deeds, (NOW_MS, saved()))
    team.report("cem", (NOW_MS - 100 * DAY_MS, commit(team.people["cem"].author, "a.py")))
    return team


def test_retention_is_for_who_may_manage_it(long_running: Team) -> None:
    assert long_running.browser("ada").get("/retention").status_code == 200
    for name in ("bob", "eve"):
        browser = long_running.browser(name)
        assert browser.get("/retention?days=30").status_code == 403
        assert browser.post("/retention", days="30", sure="1").status_code == 403
    assert long_running.browser().post("/retention", days="30", sure="1").status_code == 302
    assert days(long_running) == 365


def test_the_page_says_how_long_what_is_kept(team: Team) -> None:
    page = soup(team.browser("ada").get("/retention"))
    kept = {text(row, "th"): text(row, "td") for row in page.select(".kept tbody tr")}
    assert kept["Events: what each PC reported, one by one"] == "365 days at least, then by whole months"
    assert kept["The audit trail"] == "for ever"
    assert kept["Refresh tokens of programs"] == "90 days"
    assert kept["Browser sessions"] == "30 days; 3 without a visit"


def test_a_preview_counts_by_month_and_project_and_deletes_nothing(long_running: Team) -> None:
    page = soup(long_running.browser("ada").get("/retention?days=60"))
    section = one(page, "section[aria-labelledby=preview-title]")
    assert [cell.get_text() for cell in section.select("tbody td, tbody th")] == ["Aug 2026", "atlas", "4"]
    assert text(section, ".card-sum") == "4 events would go"
    assert "before Sep 1, 2026" in section.get_text()
    assert (events(long_running), days(long_running)) == (5, 365)


def test_a_change_that_deletes_asks_for_a_tick_first(long_running: Team) -> None:
    ada = long_running.browser("ada")
    refused = ada.post("/retention", days="60")
    assert refused.status_code == 422
    page = soup(refused)
    assert "Expected a tick" in text(page, "[role=alert]")
    assert one(page, "input[name=sure]")["aria-invalid"] == "true"
    assert (days(long_running), events(long_running)) == (365, 5)

    assert ada.post("/retention", days="60", sure="1").headers["Location"] == "/retention"
    assert days(long_running) == 60
    assert jobs.expire(long_running.context) == 4
    assert events(long_running) == 1
    assert text(soup(ada.get("/retention")), "#events-kept") == "60 days at least, then by whole months"


def test_numbers_on_pages_stay_when_events_go(long_running: Team) -> None:
    ada = long_running.browser("ada")
    address = f"{long_running.page}?range=1y"
    before = text(soup(ada.get(address)), "main")
    ada.post("/retention", days="60", sure="1")
    assert jobs.expire(long_running.context) == 4
    long_running.world.refresh()
    assert text(soup(ada.get(address)), "main") == before


def test_for_ever_needs_no_tick_and_the_trail_has_the_change(long_running: Team) -> None:
    ada = long_running.browser("ada")
    page = soup(ada.get("/retention?days=forever"))
    assert page.select("input[name=sure]") == []
    assert one(page, "input[name=days][type=hidden]")["value"] == "forever"
    assert ada.post("/retention", days="forever").status_code == 302
    assert days(long_running) is None
    assert text(soup(ada.get("/retention")), "#events-kept") == "for ever"
    with long_running.context.database.reading() as session:
        entry = session.scalars(select(AuditEntry).filter_by(act=Act.RETENTION_CHANGED)).one()
        assert json.loads(entry.detail) == {"before": 365, "after": None}
        assert entry.actor == long_running.people["ada"].public_id


@pytest.mark.parametrize("given", ["", "0", "-1", "3651", "1.5", "a year", "\u0663", "9" * 40])
def test_a_number_of_days_that_cannot_be_is_said_beside_what_was_typed(team: Team, given: str) -> None:
    ada = team.browser("ada")
    for answer in (ada.get(f"/retention?days={given}"), ada.post("/retention", days=given, sure="1")):
        assert answer.status_code == 422
        assert "1 to 3650 days" in text(soup(answer), "[role=alert]")
        assert one(soup(answer), "#days")["value"] == given
    assert days(team) == 365


HISTORY: Final = ".steps li:nth-child(2) .hint"


def test_who_connects_a_pc_reads_how_far_back_its_history_is_taken(team: Team) -> None:
    mine = f"/projects/{team.world.project('mine', team.people['ada']).public_id}"
    told = soup(team.browser("bob").get(team.page))
    assert "before Nov 1, 2025 is refused as expired" in text(told, HISTORY)
    assert told.select(f"{HISTORY} a") == [], "only who may change it is sent there"
    ada = team.browser("ada")
    assert one(soup(ada.get(mine)), f"{HISTORY} a")["href"] == "/retention"

    first = NOW_MS - 385 * DAY_MS  # the afternoon of October 30
    for at, codes in ((first, ["expired"]), (first + 3 * DAY_MS, [])):
        event = team.world.event(team.people["bob"], team.project, saved(), at)
        assert [refusal.code for refusal in team.world.send(team.people["bob"], event).errors] == codes

    ada.post("/retention", days="forever")
    assert soup(ada.get(mine)).select(".steps") and not soup(ada.get(mine)).select(HISTORY)
