"""Signing in under attack, the second factor, and the page on which people look after both."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote
from uuid import UUID, uuid4

import pyotp
import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from devflow.accounts.throttle import Throttle
from devflow.audit import Act
from devflow.config import Settings
from devflow.context import Context
from devflow.models import AuditEntry, Person
from tests import build
from tests.browsing import OURS, Browser, Team, one, soup, text
from tests.clock import Clock

NEW = "a wholly different phrase"


@dataclass
class Place:
    """A team's server whose clock can be moved, and what people do there."""

    team: Team
    clock: Clock

    def browser(self) -> Browser:
        return self.team.browser()

    def try_password(
        self,
        browser: Browser,
        password: str = build.PASSWORD,
        name: str = "bob",
        address: str = "192.0.2.7",
        base_url: str = "http://localhost",
    ) -> TestResponse:
        return browser.client.post(
            "/sign-in",
            data={"email": f"{name}@example.org", "password": password},
            headers=OURS,
            base_url=base_url,
            environ_overrides={"REMOTE_ADDR": address},
        )

    def log_in(self, **form: str) -> TestResponse:
        given = {"email": "bob@example.org", "password": build.PASSWORD, **form}
        return self.team.app.test_client().post("/auth/login", json=given)

    def attack(self, name: str = "bob", times: int = 10) -> TestResponse:
        """Guess from as many addresses; return the last answer."""
        for number in range(times):
            answer = self.try_password(self.browser(), "wrong password", name, f"198.51.100.{number}")
        return answer

    def code(self, secret: str) -> str:
        """The code of now, a step after the one before."""
        self.clock.move(30)
        return pyotp.TOTP(secret).at(self.clock.now_ms // 1_000)

    def with_second_factor(self, name: str = "bob") -> tuple[Browser, str, list[str]]:
        """A browser that has switched it on, the secret, and the recovery codes."""
        browser = self.browser().sign_in(name)
        browser.post("/me/security/second-factor")
        secret = text(soup(browser.get("/me/security/second-factor")), ".secret").replace(" ", "")
        answer = browser.post("/me/security/second-factor/on", current=build.PASSWORD, code=self.code(secret))
        assert answer.status_code == 200
        return browser, secret, [each.get_text() for each in soup(answer).select(".recovery code")]

    def trail(self, *acts: Act) -> list[tuple[str, UUID | None, bool, str]]:
        with self.team.context.database.reading() as session:
            query = select(AuditEntry).where(AuditEntry.act.in_(acts)).order_by(AuditEntry.id)
            return [(each.act, each.subject, each.is_refused, each.detail) for each in session.scalars(query)]


def place_of(team: Team, settings: Settings | None = None) -> Place:
    clock = Clock()
    context: Context = replace(team.context, now=clock, throttle=Throttle(clock))
    if settings is not None:
        context = replace(context, settings=settings)
    return Place(replace(team, context=context, app=build.app(context)), clock)


@pytest.fixture
def place(team: Team) -> Place:
    return place_of(team)


def is_in(browser: Browser) -> bool:
    return browser.get("/").status_code == 200


def said(answer: TestResponse) -> str:
    return text(soup(answer), "[role=alert]")


# Guessing


def test_after_ten_wrong_passwords_nobody_unknown_gets_in_for_a_while(place: Place) -> None:
    answer = place.attack()
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert said(answer) == f"Too many wrong attempts. Try again in {answer.headers['Retry-After']} seconds."
    assert one(soup(answer), "#email")["value"] == "bob@example.org"
    stranger = place.browser()
    assert place.try_password(stranger).status_code == 429
    assert not is_in(stranger)
    assert place.try_password(place.browser(), name="cem").status_code == 302
    place.clock.move(61)
    assert place.try_password(stranger).status_code == 302
    assert is_in(stranger)


def test_the_owner_gets_in_from_a_browser_that_was_signed_in_before(place: Place) -> None:
    owner = place.browser().sign_in("bob")
    owner.post("/sign-out")
    assert place.attack().status_code == 429
    assert place.try_password(place.browser()).status_code == 429
    assert place.try_password(owner).status_code == 302
    assert is_in(owner)


def test_a_known_browser_may_not_guess_for_ever_either(place: Place) -> None:
    owner = place.browser().sign_in("bob")
    owner.post("/sign-out")
    answers = [place.try_password(owner, "wrong password").status_code for _ in range(6)]
    assert answers == [422] * 5 + [429]
    assert place.try_password(place.browser()).status_code == 302


def test_a_known_browser_of_one_account_is_a_stranger_to_another(place: Place) -> None:
    eve = place.browser().sign_in("eve")
    eve.post("/sign-out")
    place.attack()
    assert place.try_password(eve).status_code == 429
    assert place.try_password(eve, name="eve").status_code == 302


@pytest.mark.parametrize("forged", ["", "x", "x.y", "A" * 22 + "." + "0" * 64])
def test_a_forged_cookie_helps_nobody(place: Place, forged: str) -> None:
    place.attack()
    thief = place.browser()
    thief.client.set_cookie("known", forged)
    assert place.try_password(thief).status_code == 429


def test_a_cookie_with_another_nonce_is_a_forged_one(place: Place) -> None:
    owner = place.browser().sign_in("bob")
    cookie = owner.client.get_cookie("known")
    assert (
        cookie is not None
        and cookie.http_only
        and cookie.same_site == "Lax"
        and cookie.max_age == 400 * 86_400
    )
    place.attack()
    thief = place.browser()
    thief.client.set_cookie("known", "B" + cookie.value[1:])
    assert place.try_password(thief).status_code == 429


def test_on_https_no_other_host_can_plant_the_cookie(team: Team) -> None:
    place = place_of(team, replace(team.context.settings, public_url="https://devflow.example"))
    answer = place.try_password(place.browser(), base_url="https://devflow.example")
    cookies = answer.headers.getlist("Set-Cookie")
    (known,) = [each for each in cookies if each.startswith("__Host-known=")]
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(known.split("; "))
    assert "Domain" not in known


def test_one_address_that_tries_many_accounts_is_stopped(place: Place) -> None:
    answers = [
        place.try_password(place.browser(), "wrong password", f"name{number}").status_code
        for number in range(61)
    ]
    assert answers == [422] * 60 + [429]
    assert place.try_password(place.browser()).status_code == 429
    assert place.try_password(place.browser(), address="192.0.2.8").status_code == 302


def test_programs_are_throttled_with_the_strangers(place: Place) -> None:
    answers = [place.log_in(password="wrong password") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    refused = answers[-1]
    assert refused.content_type == "application/problem+json"
    assert refused.json is not None and refused.json["status"] == 429
    assert refused.headers["Retry-After"] == "60"
    assert place.log_in().status_code == 429
    assert place.try_password(place.browser()).status_code == 429
    place.clock.move(60)
    assert place.log_in().status_code == 200


def test_refusals_are_in_the_trail_and_a_flood_of_them_is_not(place: Place) -> None:
    bob, gone = place.team.people["bob"], place.team.people["cem"]
    with place.team.context.database.writing() as session:
        session.get_one(Person, gone.id).deactivated_at = build.NOW_MS
    place.try_password(place.browser(), "wrong password")
    place.try_password(place.browser(), name="cem")
    place.try_password(place.browser(), name="nobody")
    assert place.trail(Act.SIGN_IN_REFUSED) == [
        (Act.SIGN_IN_REFUSED, subject, True, '{"why":"password"}')
        for subject in (bob.public_id, gone.public_id, None)
    ]
    place.attack(times=30)
    why = [detail for _, _, _, detail in place.trail(Act.SIGN_IN_REFUSED)]
    assert why == ['{"why":"password"}'] * 7 + ['{"why":"limit"}']


# The second factor


def test_with_a_second_factor_the_password_alone_opens_nothing(place: Place) -> None:
    _, secret, _ = place.with_second_factor()
    browser = place.browser()
    answer = browser.post(
        f"/sign-in?next={place.team.page}", email="bob@example.org", password=build.PASSWORD
    )
    assert unquote(answer.headers["Location"]) == f"/sign-in/code?next={place.team.page}"
    half = browser.client.get_cookie("devflow")
    assert not is_in(browser) and browser.client.get_cookie("known") is None
    form = one(soup(browser.get(answer.headers["Location"])), "main form")
    wrong = browser.post(str(form["action"]), code="000000")
    assert (wrong.status_code, said(wrong)) == (422, "That code is wrong, or was used already.")
    right = browser.post(str(form["action"]), code=place.code(secret))
    assert right.headers["Location"] == place.team.page
    assert is_in(browser)
    whole = browser.client.get_cookie("devflow")
    assert half is not None and whole is not None and half.value != whole.value
    browser.client.set_cookie("devflow", half.value)
    assert not is_in(browser)
    assert browser.get("/sign-in/code").headers["Location"] == "/sign-in"


def test_a_code_that_was_used_lets_nobody_in_again_and_a_recovery_code_does_once(place: Place) -> None:
    _, secret, codes = place.with_second_factor()
    code = place.code(secret)

    def sign_in(given: str) -> bool:
        browser = place.browser()
        place.try_password(browser)
        browser.post("/sign-in/code", code=given)
        return is_in(browser)

    assert [sign_in(given) for given in (code, code, codes[0], codes[0])] == [True, False, True, False]


def test_five_wrong_codes_ask_for_the_password_again(place: Place) -> None:
    _, secret, _ = place.with_second_factor()
    browser = place.browser()
    place.try_password(browser)
    answers = [browser.post("/sign-in/code", code="000000") for _ in range(5)]
    assert [said(answer).partition(".")[0] for answer in answers] == [
        *["That code is wrong, or was used already"] * 4,
        "Too many wrong codes",
    ]
    assert browser.client.get_cookie("devflow") is None
    assert browser.post("/sign-in/code", code=place.code(secret)).headers["Location"] == "/sign-in"
    assert not is_in(browser)


def test_who_knows_the_password_may_not_guess_codes_for_ever_nor_lock_the_owner_out(place: Place) -> None:
    owner, secret, _ = place.with_second_factor()
    owner.post("/sign-out")
    thief = place.browser()
    for _ in range(3):
        place.try_password(thief)
        for _ in range(4):
            answer = thief.post("/sign-in/code", code="000000")
        place.clock.move(61)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    place.try_password(thief)
    assert thief.post("/sign-in/code", code=place.code(secret)).status_code == 429
    place.try_password(owner)
    assert owner.post("/sign-in/code", code=place.code(secret)).status_code == 302
    assert is_in(owner)
    refused = [detail for _, _, _, detail in place.trail(Act.SIGN_IN_REFUSED)]
    assert refused == ['{"why":"code"}'] * 10 + ['{"why":"limit"}']


def test_the_code_has_to_come_within_ten_minutes(place: Place) -> None:
    _, secret, _ = place.with_second_factor()
    browser = place.browser()
    place.try_password(browser)
    place.clock.move(601)
    assert browser.post("/sign-in/code", code=place.code(secret)).headers["Location"] == "/sign-in"
    assert not is_in(browser)


def test_programs_are_told_that_a_code_is_needed(place: Place) -> None:
    _, secret, codes = place.with_second_factor()
    for code in (None, "000000"):
        answer = place.log_in() if code is None else place.log_in(code=code)
        assert answer.status_code == 401 and answer.json is not None
        assert answer.json["code"] == "second_factor"
    wrong = place.log_in(password="wrong password", code=codes[0])
    assert wrong.json is not None and "code" not in wrong.json
    assert place.log_in(code=place.code(secret)).status_code == 200
    assert place.log_in(code=codes[0]).status_code == 200
    assert place.log_in(code=codes[0]).status_code == 401
    answers = [place.log_in(code="000000").status_code for _ in range(5)]
    assert answers[-1] == 429
    assert place.log_in(email="cem@example.org", code="000000").status_code == 200
    assert place.trail(Act.CODE_AWAITED) == [
        (Act.CODE_AWAITED, place.team.people["bob"].public_id, False, "{}")
    ]


def test_switching_it_on_shows_a_picture_and_the_secret_and_signs_out_elsewhere(place: Place) -> None:
    elsewhere, bob = place.browser().sign_in("bob"), place.browser().sign_in("bob")
    assert bob.get("/me/security/second-factor").status_code == 404
    assert bob.post("/me/security/second-factor").status_code == 302
    page = soup(bob.get("/me/security/second-factor"))
    secret = text(page, ".secret").replace(" ", "")
    picture = str(one(page, ".qr img")["src"])
    assert picture.startswith("data:image/svg+xml") and "style" not in unquote(picture)
    for form in (
        {"current": "wrong password", "code": place.code(secret)},
        {"current": build.PASSWORD, "code": "0"},
    ):
        answer = bob.post("/me/security/second-factor/on", **form)
        assert answer.status_code == 422
        assert text(soup(answer), ".secret").replace(" ", "") == secret
    before = bob.client.get_cookie("devflow")
    answer = bob.post("/me/security/second-factor/on", current=build.PASSWORD, code=place.code(secret))
    codes = [each.get_text() for each in soup(answer).select(".recovery code")]
    assert len(codes) == 10 and all(re.fullmatch(r"([a-z2-7]{4}-){3}[a-z2-7]{4}", code) for code in codes)
    assert is_in(bob) and not is_in(elsewhere)
    assert before != bob.client.get_cookie("devflow")
    page = soup(bob.get("/me/security"))
    assert "10 recovery codes are left" in text(page, "section[aria-labelledby=factor-title]")
    assert not any(code in page.get_text() for code in codes)
    assert [act for act, *_ in place.trail(Act.SECOND_FACTOR_ON, Act.CONFIRMATION_REFUSED)] == [
        Act.CONFIRMATION_REFUSED,
        Act.CONFIRMATION_REFUSED,
        Act.SECOND_FACTOR_ON,
    ]


def test_switching_it_off_takes_the_password_and_a_code(place: Place) -> None:
    bob, secret, codes = place.with_second_factor()
    address = "/me/security/second-factor/off"
    for form in (
        {"current": "wrong password", "code": place.code(secret)},
        {"current": build.PASSWORD, "code": "0"},
    ):
        answer = bob.post(address, **form)
        assert answer.status_code == 422
        assert one(soup(answer), "details[open] summary").get_text() == "Switch off"
    assert bob.post(address, current=build.PASSWORD, code=codes[3]).status_code == 302
    assert place.try_password(place.browser()).headers["Location"] == "/"
    assert is_in(bob)
    assert bob.post(address, current=build.PASSWORD, code=codes[4]).status_code == 422


def test_new_recovery_codes_take_the_password_and_a_code_and_sign_out_elsewhere(place: Place) -> None:
    bob, secret, codes = place.with_second_factor()
    elsewhere = place.browser()
    place.try_password(elsewhere)
    elsewhere.post("/sign-in/code", code=codes[0])
    address, before = "/me/security/recovery-codes", bob.client.get_cookie("devflow")
    for form in (
        {"current": "wrong password", "code": codes[1]},
        {"current": build.PASSWORD},
        {"current": build.PASSWORD, "code": "000000"},
    ):
        answer = bob.post(address, **form)
        assert answer.status_code == 422
        assert one(soup(answer), "details[open] summary").get_text() == "New recovery codes"
    assert is_in(elsewhere)
    answer = bob.post(address, current=build.PASSWORD, code=place.code(secret))
    made = [each.get_text() for each in soup(answer).select(".recovery code")]
    assert len(made) == 10 and not set(made) & set(codes)
    assert is_in(bob) and not is_in(elsewhere)
    assert before != bob.client.get_cookie("devflow")
    without = place.browser().sign_in("cem").post(address, current=build.PASSWORD, code="000000")
    assert without.status_code == 422


# The page


def test_a_new_password_signs_out_everything_else(place: Place) -> None:
    bob, elsewhere, other = (place.browser().sign_in(name) for name in ("bob", "bob", "cem"))
    tokens = [place.log_in().json, place.log_in(email="cem@example.org").json]
    answer = bob.post("/me/security/password", current=build.PASSWORD, new=NEW, end_programs="yes")
    assert answer.headers["Location"] == "/me/security"
    assert [is_in(each) for each in (bob, elsewhere, other)] == [True, False, True]
    assert [programs_work(place, each) for each in tokens] == [False, True]
    assert place.try_password(place.browser()).status_code == 422
    assert place.try_password(place.browser(), NEW).status_code == 302
    assert place.trail(Act.PASSWORD_CHANGED) == [
        (Act.PASSWORD_CHANGED, place.team.people["bob"].public_id, False, '{"programs_ended":true}')
    ]


def programs_work(place: Place, tokens: dict[str, str] | None) -> bool:
    """Whether the refresh token is still good; access tokens are checked by the wall clock."""
    assert tokens is not None
    answer = place.team.app.test_client().post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
    return answer.status_code == 200


def test_pcs_stay_signed_in_if_that_is_wanted(place: Place) -> None:
    bob, elsewhere = (place.browser().sign_in("bob") for _ in range(2))
    tokens = place.log_in().json
    assert bob.post("/me/security/password", current=build.PASSWORD, new=NEW).status_code == 302
    assert (is_in(bob), is_in(elsewhere), programs_work(place, tokens)) == (True, False, True)


@pytest.mark.parametrize(
    ("current", "new", "reason"),
    [
        ("wrong password", NEW, "This is not your current password."),
        (build.PASSWORD, "short", "Expected a password of 10 to 1024 characters"),
        (build.PASSWORD, "bob@example.org", "Expected a password that is harder to guess."),
    ],
)
def test_a_password_that_will_not_do_changes_nothing(
    place: Place, current: str, new: str, reason: str
) -> None:
    bob = place.browser().sign_in("bob")
    answer = bob.post("/me/security/password", current=current, new=new)
    assert answer.status_code == 422 and said(answer).startswith(reason)
    assert {field.get("value") for field in soup(answer).select("input[type=password]")} == {""}
    assert place.try_password(place.browser()).status_code == 302


def test_who_sits_at_an_open_browser_may_not_guess_the_password(place: Place) -> None:
    thief, owner = (place.browser().sign_in("bob") for _ in range(2))
    answers = [thief.post("/me/security/password", current=f"guess {n}", new=NEW) for n in range(6)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert thief.post("/me/security/password", current=build.PASSWORD, new=NEW).status_code == 429
    assert owner.post("/me/security/password", current=build.PASSWORD, new=NEW).status_code == 302
    assert [refused for *_, refused, _ in place.trail(Act.CONFIRMATION_REFUSED)] == [True] * 6


def test_people_see_and_end_their_own_browsers_only(place: Place) -> None:
    bob, phone, cem = place.browser(), place.browser(), place.browser()
    for browser, agent in ((bob, "X11; Linux Firefox/140.0"), (phone, "iPhone Safari/604.1 <b>raw</b>")):
        browser.client.environ_base["HTTP_USER_AGENT"] = agent
        browser.sign_in("bob")
    cem.sign_in("cem")
    page = soup(bob.get("/me/security"))
    names = [" ".join(each.get_text(" ").split()) for each in page.select(".entry-name")]
    assert sorted(names) == ["Firefox on Linux this one", "Safari on an iPhone"]
    assert "raw" not in page.get_text() and "Nov 19, 2026, 3:30" in page.get_text()
    address = str(one(page, ".entry form")["action"])
    assert cem.post(address).status_code == 404
    assert is_in(phone)
    assert bob.post(address).headers["Location"] == "/me/security"
    assert [is_in(each) for each in (bob, phone, cem)] == [True, False, True]
    assert bob.post(address).status_code == 404
    assert bob.post(f"/me/security/sessions/{uuid4()}/end").status_code == 404


def test_all_other_browsers_can_be_ended_at_once(place: Place) -> None:
    bob, *others, cem = (place.browser().sign_in(name) for name in ("bob", "bob", "bob", "cem"))
    assert bob.post("/me/security/sessions/end-others").status_code == 302
    assert [is_in(each) for each in (bob, *others, cem)] == [True, False, False, True]
    assert "No other browser" in text(soup(bob.get("/me/security")), "main")
    assert [detail for *_, detail in place.trail(Act.SESSIONS_ENDED)] == ['{"n":2}']


def test_every_page_leads_to_the_own_security(place: Place) -> None:
    bob = place.browser().sign_in("bob")
    assert one(soup(bob.get("/")), ".who-name")["href"] == "/me"
    assert "/me/security" in [link["href"] for link in soup(bob.get("/me")).select(".nav a")]
