"""How numbers, times and messages are written."""

from __future__ import annotations

from datetime import date

import pytest

from devflow.web import i18n
from tests.browsing import Team, one, soup


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0 min"),
        (1, "< 1 min"),
        (59, "< 1 min"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (5_459, "1 h 30 min"),
        (359_999, "99 h 59 min"),
        (360_000, "100 h"),
        (4_000_000, "1,111 h"),
    ],
)
def test_durations_are_cut_never_rounded_up(team: Team, seconds: int, written: str) -> None:
    with team.app.test_request_context():
        assert i18n.duration(seconds) == written


def test_numbers_and_dates_are_written_for_people(team: Team) -> None:
    with team.app.test_request_context():
        assert i18n.number(1_234_567) == "1,234,567"
        assert (i18n.compact(999), i18n.compact(1_500), i18n.compact(2_000_000)) == ("999", "1.5K", "2M")
        assert i18n.day(date(2026, 11, 3)) == "Nov 3, 2026"
        assert i18n.weekday(date(2026, 11, 3)) == "Tuesday, November 3, 2026"
        assert (i18n.month_day(date(2026, 11, 3)), i18n.month(date(2026, 11, 3))) == ("Nov 3", "Nov 2026")


def test_messages_become_sentences() -> None:
    assert i18n.sentence("expected a name, got ''") == "Expected a name, got ''."
    assert i18n.sentence("Is it?") == "Is it?"


@pytest.mark.parametrize("wanted", ["de-DE,de;q=0.9", "en-GB", "*", "not a language at all;;q=x"])
def test_a_language_that_is_not_offered_gets_the_one_that_is(team: Team, wanted: str) -> None:
    answer = team.browser().get("/sign-in", Accept_Language=wanted)
    assert one(soup(answer), "html")["lang"] == "en"


def test_an_address_with_a_shells_own_characters_is_quoted_in_the_commands(team: Team) -> None:
    who = team.world.person("O'Neil;ls")
    page = f"/projects/{team.world.project('quoted', who).public_id}"
    browser = team.browser().sign_in("o'neil;ls")
    commands = [code.get_text() for code in soup(browser.get(page)).select(".steps code")]
    assert commands[3] == """devflow sync auth --email 'o'"'"'neil;ls@example.org'"""
