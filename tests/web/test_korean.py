"""The pages in Korean, and the choice of a language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

import pytest
from bs4 import BeautifulSoup, Comment, Tag
from flask_babel import force_locale
from werkzeug.test import TestResponse

from devflow.context import Context
from devflow.web import i18n
from devflow.web.catalogs import OFFERED
from devflow.web.i18n import CHOSEN
from tests import build
from tests.browsing import Browser, Team, one, soup, text
from tests.staged import Staged, stage
from tests.web.test_live import address, caught_up, save, stream, version
from tests.web.test_structure import every_page
from tests.web.test_translations import SAID

HANGUL: Final = re.compile(r"[\uac00-\ud7a3]")
EMAIL: Final = re.compile(r"[\w.]+@[\w.]+")
WORD: Final = re.compile(r"[A-Za-z]{2,}")
# Names of products and formats, abbreviations, and the addresses in examples.
SAME: Final = """
    DevFlow Monitor Git PC CSV JSON Lines QR ID PBKDF HMAC SHA ms English BCDF GHJK ada example org
    Python pip pipx uv python devflow verify rollups repair sync auth queue logs developer lead manager
"""
# What people called things.
GIVEN: Final = """
    Ada Bob Cem Dan Eve Fay Gus Hana Platform atlas api billing design system field notes Workstation Old New
    laptop Firefox Another browser on Linux Europe Berlin
"""
KNOWN: Final = {*SAME.split(), *GIVEN.split()}
CODE: Final = "code, script, style, .details, .path"


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, Staged]]:
    context, _ = build.context(tmp_path_factory.mktemp("staged"))
    yield context, stage(context)
    context.database.close()


def in_korean(browser: Browser) -> Browser:
    browser.client.set_cookie(CHOSEN, "ko")
    return browser


def test_no_page_in_korean_says_anything_in_english(staged: tuple[Context, Staged]) -> None:
    left: dict[str, str] = {}
    count = 0
    for name, route, answer in every_page(*staged, language="ko"):
        count += 1
        page = soup(answer)
        assert one(page, "html")["lang"] == "ko"
        assert HANGUL.search(one(page, "h1").get_text()) or name, route
        for said in spoken(page):
            if words := {*WORD.findall(EMAIL.sub("", said))} - KNOWN:
                left[said] = f"{name} {route.method} {route.address}: {sorted(words)}"
    assert not left, "\n".join(f"{said!r} at {where}" for said, where in left.items())
    assert count > 100


def test_no_page_in_english_says_anything_in_korean(staged: tuple[Context, Staged]) -> None:
    for _, route, answer in every_page(*staged):
        assert [said for said in spoken(soup(answer)) if HANGUL.search(said)] == [], route


def spoken(page: BeautifulSoup) -> Iterator[str]:
    """The texts of a page in its own language, without code, and what it tells who cannot see it."""
    for other in page.select(f"{CODE}, button[lang]"):
        other.decompose()
    for element in page.find_all(True):
        yield from (str(element[name]) for name in SAID if element.get(name))
    for each in page.find_all(string=True):
        if (
            each.strip()
            and not isinstance(each, Comment)
            and each.parent
            and each.parent.name != "[document]"
        ):
            yield " ".join(each.split())


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0분"), (59, "1분 미만"), (60, "1분"), (5_459, "1시간 30분"), (4_000_000, "1,111시간")],
)
def test_durations_are_written_in_korean(team: Team, seconds: int, written: str) -> None:
    with team.app.test_request_context(headers={"Accept-Language": "ko"}):
        assert i18n.duration(seconds) == written


def test_numbers_and_dates_are_written_as_koreans_do(team: Team) -> None:
    with team.app.test_request_context(headers={"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}):
        assert i18n.number(1_234_567) == "1,234,567"
        assert (i18n.compact(999), i18n.compact(1_500), i18n.compact(20_000)) == ("999", "1.5천", "2만")
        assert i18n.day(date(2026, 11, 3)) == "2026. 11. 3."
        assert i18n.weekday(date(2026, 11, 3)) == "2026년 11월 3일 화요일"
        assert (i18n.month_day(date(2026, 11, 3)), i18n.month(date(2026, 11, 3))) == (
            "11월 3일",
            "2026년 11월",
        )
        assert i18n.span(date(2026, 11, 3), date(2026, 11, 5)) == "2026. 11. 3. ~ 2026. 11. 5."
        assert re.fullmatch(r"2026\. 11\. 19\. 오[전후] \d+:30", i18n.moment(build.NOW_MS))
        assert (i18n.hours(5_400), i18n.about(7 * 60)) == ("1.5시간", "7분")
        assert i18n.ngettext("%(n)s commit", "%(n)s commits", 1, n=1) == "커밋 1개"


def test_the_foot_of_every_page_offers_the_languages_and_remembers_the_choice(team: Team) -> None:
    browser = team.browser()
    page = soup(browser.get("/sign-in?next=/teams"))
    assert [(each["value"], each["lang"], each.get_text()) for each in page.select(".language")] == [
        (code, code, name) for code, name in OFFERED.items()
    ]
    assert one(page, ".language[aria-current]")["value"] == "en"
    answer = browser.post("/language", language="ko", next=str(one(page, ".languages [name=next]")["value"]))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=%2Fteams")
    kept = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith(CHOSEN))
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {*kept.split("; ")}
    page = soup(browser.get("/sign-in", Accept_Language="en"))
    assert (one(page, "html")["lang"], text(page, "h1")) == ("ko", "로그인")
    browser.post("/language", language="en")
    assert one(soup(browser.get("/sign-in", Accept_Language="ko")), "html")["lang"] == "en"


def test_the_choice_outlives_signing_in_and_out(team: Team) -> None:
    browser = in_korean(team.browser()).sign_in("bob")
    assert one(soup(browser.get("/")), "html")["lang"] == "ko"
    browser.post("/sign-out")
    assert one(soup(browser.get("/sign-in")), "html")["lang"] == "ko"


@pytest.mark.parametrize("wanted", ["", "de", "KO", "../ko", "ko\x00", "한국어", "x" * 5_000])
def test_no_other_language_can_be_chosen(team: Team, wanted: str) -> None:
    answer = team.browser().post("/language", language=wanted)
    assert answer.status_code == 400
    assert not [each for each in answer.headers.getlist("Set-Cookie") if each.startswith(CHOSEN)]


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "", "x"])
def test_whoever_chooses_stays_on_this_site(team: Team, elsewhere: str) -> None:
    answer = team.browser().post("/language", language="ko", next=elsewhere)
    assert answer.headers["Location"] == "/"


def test_a_form_of_another_site_chooses_nothing(team: Team) -> None:
    sent = {"Sec-Fetch-Site": "cross-site"}
    answer = team.browser().client.post("/language", data={"language": "ko"}, headers=sent)
    assert (answer.status_code, answer.headers.getlist("Set-Cookie")) == (403, [])


@pytest.mark.parametrize(
    "cookie", ["de", "ko; x", "../../etc/passwd", "%00", '"', "ko_KR.UTF-8@x", "k" * 3_000]
)
def test_a_cookie_of_nobodys_making_is_as_none(team: Team, cookie: str) -> None:
    answer = team.browser().get("/sign-in", Cookie=f"{CHOSEN}={cookie}, x", Accept_Language="ko;q=0.5")
    assert (answer.status_code, one(soup(answer), "html")["lang"]) == (200, "ko")


@pytest.mark.parametrize(
    ("liked", "given"),
    [
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("de, ko;q=0.3", "ko"),
        ("KO-kr", "ko"),
        ("kok", "en"),
        ("ko;q=0", "en"),
        ("\u00ff,;;q=ko" * 200, "en"),
    ],
)
def test_the_browsers_wish_decides_where_nobody_chose(team: Team, liked: str, given: str) -> None:
    answer = team.browser().get("/sign-in", Accept_Language=liked)
    assert one(soup(answer), "html")["lang"] == given


def test_one_thread_reads_to_one_after_the_other_each_in_their_own(team: Team) -> None:
    for language in ("ko", "en", "ko"):
        with team.app.test_request_context(headers={"Accept-Language": language}):
            assert i18n.language() == language
            with team.app.app_context(), force_locale("en" if language == "ko" else "ko"):
                assert i18n.language() != language
            assert i18n.language() == language


def test_caches_are_told_what_the_language_hangs_on(busy: Team) -> None:
    bob = busy.browser("bob")
    assert {"Accept-Language", "Cookie"} <= {*bob.get("/").vary}
    with bob.get("/static/icon.svg") as icon:
        assert "Cookie" not in icon.vary
    busy.context.hub.end()


def test_errors_in_forms_and_on_pages_are_in_korean(team: Team) -> None:
    ada = in_korean(team.browser("ada"))
    assert wrong(ada.post("/projects", name=" ")) == "이름은 1~100자여야 합니다(입력: 0자)."
    assert wrong(ada.post("/projects", name="atlas")) == "이미 다른 프로젝트가 쓰는 이름입니다: 'atlas'."
    easy = ada.post("/me/security/password", current=build.PASSWORD, new="aaaaaaaaaaaa")
    assert wrong(easy).startswith("더 추측하기 어려운 비밀번호를 입력하세요. ")
    assert not WORD.findall(wrong(easy).replace("aaa", ""))
    nothing = soup(ada.get("/nothing"))
    assert text(nothing, "h1") == "찾을 수 없습니다"
    stranger = in_korean(team.browser()).post("/sign-in", email="ada@example.org", password="x")
    assert wrong(stranger) == "이메일 주소와 비밀번호가 일치하지 않습니다."


def wrong(answer: TestResponse) -> str:
    assert answer.status_code == 422
    return text(soup(answer), "#wrong")


def test_programs_are_answered_in_english_whatever_they_like(team: Team) -> None:
    browser = in_korean(team.browser())
    for way in ("/sync/nothing", "/metrics/aggregate", "/sync/projects"):
        answer = browser.get(way, Accept_Language="ko")
        assert answer.status_code >= 400
        assert not HANGUL.search(answer.get_data(as_text=True)), way


def test_a_stream_in_korean_equals_a_fresh_load_in_korean(busy: Team) -> None:
    bob = in_korean(busy.browser("bob"))
    english = busy.browser("bob")
    assert version(address(bob)) != version(address(english))
    with stream(bob, address(bob)) as chunks, stream(english, address(english)) as others:
        next(chunks), next(others)
        save(busy)
        panels = caught_up(chunks, soup(bob.get("/")))
        in_english = caught_up(others, soup(english.get("/")))
    assert "#week" in panels.keys() & in_english.keys()
    assert HANGUL.search(panels["#week"].get_text())
    assert not HANGUL.search(in_english["#week"].get_text())
    busy.context.hub.end()


def test_the_axis_of_a_chart_is_in_korean(busy: Team) -> None:
    page = soup(in_korean(busy.browser("bob")).get(busy.page))
    marks = [each.get_text() for each in page.select(".chart-plot text") if isinstance(each, Tag)]
    assert marks
    assert all(re.fullmatch(r"\d+월( \d+일)?|\d{4}년 \d+월|\?", mark) for mark in marks), marks
    busy.context.hub.end()
