"""What pages show while all is counted by another calendar, and after numbers were held against events."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from devflow import rollups
from devflow.models import Workspace
from devflow.rollups import Calendar
from tests.browsing import Team, figures, soup, table, text
from tests.build import MINUTE_MS, NOW_MS
from tests.web.test_project import known

KATHMANDU = Calendar(ZoneInfo("Asia/Kathmandu"), 2 * MINUTE_MS)


def shown(team: Team) -> tuple[str, dict[str, list[str]], list[list[str]]]:
    """The foot, which names the zone, the figures, and the days of the project's page."""
    page = soup(team.browser("bob").get(team.page))
    return text(page, "footer.bottom"), figures(page), table(page, "commits")


def test_pages_show_the_calendar_before_until_the_new_one_is_whole_and_say_so(busy: Team) -> None:
    before, world = shown(busy), busy.world
    assert "Europe/Berlin" in before[0]
    world.database.transact(lambda session: rollups.want(session, world.by(session), KATHMANDU))
    while world.database.transact(rollups.advance):
        assert shown(busy) == before
    page = soup(busy.browser("ada").get("/audit"))
    assert "by the time zone Asia/Kathmandu and an idle limit of 2 min" in text(page, "#next-calendar")

    assert world.database.transact(lambda session: rollups.switch(session, world.by(session)))
    after = shown(busy)
    assert "Asia/Kathmandu" in after[0] and "Europe/Berlin" not in after[0]
    total = known(busy, "bob", date(2026, 10, 21)).total
    assert after[1]["Commits"][0] == str(total.commits)
    assert after[1]["Active time"] != before[1]["Active time"]
    assert soup(busy.browser("ada").get("/audit")).select_one("#next-calendar") is None


def test_admins_read_beside_the_trail_whether_numbers_are_what_the_events_say(team: Team) -> None:
    assert soup(team.browser("ada").get("/audit")).select_one("#rollups") is None
    with team.context.database.writing() as session:
        session.get_one(Workspace, 1).rollups_examined_at = NOW_MS
    said = text(soup(team.browser("ada").get("/audit")), "#rollups")
    assert said.startswith("A sample of all numbers was counted anew Nov 19, 2026")
    with team.context.database.writing() as session:
        session.get_one(Workspace, 1).rollups_wrong = 2
    said = text(soup(team.browser("ada").get("/audit")), "#rollups")
    assert said.startswith("2 numbers are not what the events say")
