"""Letting PCs in and shutting them out: the doors that agents ask, and the pages that their owners see."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pytest
from bs4 import BeautifulSoup
from msgspec import Raw
from werkzeug.test import TestResponse

from devflow import wire
from devflow.accounts import pairing, people
from devflow.accounts.throttle import Throttle
from devflow.models import Role
from tests import build
from tests.browsing import OURS, Browser, Team, one, soup, text
from tests.clock import Clock
from tests.web.test_live import address as live_address
from tests.web.test_live import stream
from tests.web.test_live import told as panels_of

HOSTILE: Final = "\u202eevil"


def post(team: Team, address: str, body: object, token: str | None = None) -> TestResponse:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return team.app.test_client().post(address, json=body, headers=headers)


def get(team: Team, address: str, token: str) -> TestResponse:
    return team.app.test_client().get(address, headers={"Authorization": f"Bearer {token}"})


def begin(team: Team, name: str = "lap", device_id: str | None = None) -> dict[str, Any]:
    answer = post(team, "/auth/pair", {"deviceId": device_id or str(uuid4()), "deviceName": name})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json  # type: ignore[assignment]
    return found


def asked(team: Team, begun: dict[str, Any]) -> Any:
    return post(team, "/auth/pair/token", {"secret": begun["secret"]}).json


def log_in(team: Team, name: str) -> str:
    """The access token of the person's PC."""
    body = {
        "email": f"{name}@example.org",
        "password": build.PASSWORD,
        "deviceId": str(team.people[name].device_id),
        "deviceName": "a PC",
    }
    answer = post(team, "/auth/login", body)
    assert answer.status_code == 200, answer.text
    return str(answer.json["token"])  # type: ignore[index]


def names(page: BeautifulSoup) -> list[str]:
    return [heading.get_text() for heading in page.select(".device h2")]


# Pairing


def test_a_pc_is_paired_through_the_browser(team: Team) -> None:
    begun = begin(team)
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", begun["code"])
    assert (begun["url"], begun["intervalS"]) == ("http://localhost:8080/pair", pairing.INTERVAL_S)
    assert begun["expiresAt"] == build.NOW_MS + 15 * build.MINUTE_MS
    assert asked(team, begun) == {"state": "pending", "tokens": None, "email": None}
    bob = team.browser("bob")
    decide = soup(bob.post("/pair", code=begun["code"].lower()))
    assert "lap" in text(decide, ".facts")
    assert begun["code"] in text(decide, ".facts")
    assert "Look at the screen" in text(decide, "main")
    assert asked(team, begun)["state"] == "pending", "looking decides nothing"
    done = bob.post("/pair/approve", code=begun["code"])
    assert (done.status_code, done.headers["Location"]) == (303, "/pair?done=approved")
    assert "goes on by itself" in text(soup(bob.get("/pair?done=approved")), "[role=status]")
    given = asked(team, begun)
    assert (given["state"], given["email"]) == ("approved", "bob@example.org")
    assert get(team, "/sync/projects", given["tokens"]["token"]).json["projects"][0]["name"] == "atlas"  # type: ignore[index]
    assert post(team, "/auth/pair/token", {"secret": begun["secret"]}).status_code == 401
    assert "lap" in names(soup(bob.get("/me/devices")))
    assert "lap" not in names(soup(team.browser("cem").get("/me/devices")))


def test_a_link_with_a_code_only_fills_it_in(team: Team) -> None:
    begun, bob = begin(team), team.browser("bob")
    page = soup(bob.get(f"/pair?code={begun['code']}"))
    assert one(page, "#code")["value"] == begun["code"]
    assert not page.select("form[action$=approve]")
    assert bob.get("/pair/approve").status_code == 405
    assert asked(team, begun)["state"] == "pending"


def test_a_pc_that_is_turned_away_is_told_so(team: Team) -> None:
    begun, bob = begin(team), team.browser("bob")
    assert bob.post("/pair/deny", code=begun["code"]).status_code == 303
    assert asked(team, begun) == {"state": "denied", "tokens": None, "email": None}
    late = bob.post("/pair/approve", code=begun["code"])
    assert (late.status_code, "not waiting" in text(soup(late), "[role=alert]")) == (422, True)


def test_somebody_elses_pc_is_refused_in_words(team: Team) -> None:
    begun = begin(team, device_id=str(team.people["bob"].device_id))
    for address in ("/pair", "/pair/approve"):
        answer = team.browser("eve").post(address, code=begun["code"])
        assert (answer.status_code, "somebody else" in text(soup(answer), "[role=alert]")) == (422, True)


def test_a_form_from_another_site_decides_nothing(team: Team) -> None:
    begun, bob = begin(team), team.browser("bob")
    for address in ("/pair", "/pair/approve", "/pair/deny"):
        answer = bob.client.post(
            address, data={"code": begun["code"]}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert answer.status_code == 403
    assert asked(team, begun)["state"] == "pending"


@pytest.mark.parametrize(
    "code", ["", "x", "\x00" * 8, "\u202eBCDFGHJK", "<script>alert(1)</script>", "B" * 100_000, "ßßßß"]
)
def test_any_text_in_the_place_of_a_code_is_answered_in_the_form(team: Team, code: str) -> None:
    answer = team.browser("bob").post("/pair", code=code)
    assert answer.status_code == 422
    assert "BCDF-GHJK" in text(soup(answer), "[role=alert]")
    assert not soup(answer).select("main script")


def test_after_ten_wrong_codes_even_the_right_one_waits_by_the_servers_clock(team: Team) -> None:
    clock, team = on_a_clock(team)
    begun, bob = begin(team), team.browser("bob")
    for _ in range(15):
        assert bob.post("/pair", code="this is no code").status_code == 422, "not counted"
    for number in range(10):
        address = ("/pair", "/pair/approve", "/pair/deny")[number % 3]
        assert bob.post(address, code="BBBB-BBBB").status_code == 422
        clock.move(1)
    for address in ("/pair", "/pair/approve", "/pair/deny"):
        answer = bob.post(address, code=begun["code"])
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "890")
    assert asked(team, begun)["state"] == "pending"
    assert team.browser("cem").post("/pair", code=begun["code"]).status_code == 200
    clock.move(889)
    assert bob.post("/pair", code=begun["code"]).status_code == 429
    clock.move(1)
    # Its code has expired meanwhile, so it is the one wrong code that there is room for.
    assert bob.post("/pair", code="BBBB-BBBB").status_code == 422
    assert bob.post("/pair", code="BBBB-BBBB").status_code == 429


@pytest.mark.parametrize(
    ("address", "neighbour", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
    ],
)
def test_one_customers_addresses_start_five_pairings_a_minute(
    team: Team, address: str, neighbour: str, other: str
) -> None:
    clock, team = on_a_clock(team)
    for _ in range(5):
        assert ask_from(team, address).status_code == 200
        clock.move(2)
    answer = ask_from(team, neighbour)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "50")
    assert answer.content_type == "application/problem+json"
    assert ask_from(team, other).status_code == 200
    clock.move(49)
    assert ask_from(team, neighbour).status_code == 429
    clock.move(1)
    assert [ask_from(team, neighbour).status_code for _ in range(2)] == [200, 429]


def on_a_clock(team: Team) -> tuple[Clock, Team]:
    """The same team, its server on a clock that the test moves."""
    clock = Clock()
    context = replace(team.context, now=clock, throttle=Throttle(clock))
    return clock, replace(team, context=context, app=build.app(context))


def ask_from(team: Team, address: str) -> TestResponse:
    return team.app.test_client().post(
        "/auth/pair",
        json={"deviceId": str(uuid4()), "deviceName": "x"},
        environ_overrides={"REMOTE_ADDR": address},
    )


DEVICE = "0c6e1f2a-5d38-4b6c-9a57-2f1f7be0a9d4"


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/auth/pair", b"[]"),
        ("/auth/pair", b"\xff\xfe{"),
        ("/auth/pair", b"{}"),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}"}}'.encode()),
        ("/auth/pair", b'{"deviceId":"x","deviceName":"x"}'),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":7}}'.encode()),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":""}}'.encode()),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":" "}}'.encode()),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":"a\\u0000b"}}'.encode()),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":"\\u202eevil"}}'.encode()),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":"\\ud800"}}'.encode()),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":"{"x" * 101}"}}'.encode()),
        ("/auth/pair", f'{{"deviceId":"{DEVICE}","deviceName":"x","more":1}}'.encode()),
        ("/auth/pair", b"[" * 10_000),
        ("/auth/pair/token", b"{}"),
        ("/auth/pair/token", b'{"secret":""}'),
        ("/auth/pair/token", b'{"secret":7}'),
        ("/auth/pair/token", b'{"secret":"\\ud800"}'),
        ("/auth/pair/token", b'{"secret":"' + b"x" * 1_025 + b'"}'),
        ("/auth/refresh", b'{"refreshToken":"\\ud800"}'),
        ("/auth/login", b'{"email":"bob@example.org","password":"correct horse battery",'
         b'"deviceId":"3b241101-e2bb-4255-8caf-4136c566a962","deviceName":"a\\u0000b"}'),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused_with_what_was_expected(team: Team, address: str, body: bytes) -> None:
    answer = team.app.test_client().post(address, data=body, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json"), answer.text


@pytest.mark.parametrize("secret", ["guess", "\x00", "\U0001f600" * 500, "' OR 1=1 --"])
def test_a_guessed_secret_is_answered_401(team: Team, secret: str) -> None:
    assert post(team, "/auth/pair/token", {"secret": secret}).status_code == 401


# The doors of an agent


def test_an_agent_lists_its_owners_devices_and_no_others(team: Team) -> None:
    bobs = team.people["bob"].device_id
    second = team.world.second_device(team.people["bob"]).device_id
    answer = wire.decode(get(team, "/auth/devices", log_in(team, "bob")).data, wire.Devices)
    assert {(device.device_id, device.is_this) for device in answer.devices} == {
        (bobs, True),
        (second, False),
    }
    assert {device.created_at for device in answer.devices} == {build.NOW_MS}


def test_an_agent_revokes_its_owners_devices_and_no_others(team: Team) -> None:
    eve, bob, ada = (log_in(team, name) for name in ("eve", "bob", "ada"))
    bobs = team.people["bob"].device_id
    for wrong in (bobs, uuid4()):
        assert post(team, f"/auth/devices/{wrong}/revoke", {}, eve).status_code == 404
    assert post(team, f"/auth/devices/{bobs}/revoke", {}).status_code == 401
    assert post(team, "/auth/devices/nothing/revoke", {}, eve).status_code == 404
    assert post(team, f"/auth/devices/{bobs}/revoke", {}, bob).status_code == 204
    answer = get(team, "/sync/projects", bob)
    assert (answer.status_code, "revoked" in answer.text) == (401, True)
    eves = team.people["eve"].device_id
    assert post(team, f"/auth/devices/{eves}/revoke", {}, ada).status_code == 204, "an admin may"
    assert get(team, "/auth/devices", eve).status_code == 401


def test_a_revoked_device_logs_in_by_no_password(team: Team) -> None:
    bob = log_in(team, "bob")
    assert post(team, f"/auth/devices/{team.people['bob'].device_id}/revoke", {}, bob).status_code == 204
    body = {
        "email": "bob@example.org",
        "password": build.PASSWORD,
        "deviceId": str(team.people["bob"].device_id),
    }
    answer = post(team, "/auth/login", body)
    assert (answer.status_code, "asks its owner" in answer.text) == (401, True)


def test_logging_out_ends_the_tokens_of_that_pc_alone(team: Team) -> None:
    bob, eve = log_in(team, "bob"), log_in(team, "eve")
    assert post(team, "/auth/logout", {}, bob).status_code == 204
    assert post(team, "/auth/logout", {}, bob).status_code == 401
    assert get(team, "/auth/devices", bob).status_code == 401
    assert get(team, "/auth/devices", eve).status_code == 200
    assert log_in(team, "bob")


# The pages


def test_the_own_pcs_are_listed_renamed_and_revoked(team: Team) -> None:
    bob, token = team.browser("bob"), log_in(team, "bob")
    page = soup(bob.get("/me/devices"))
    assert names(page) == ["a PC"]
    assert "none yet" in text(page, ".device")
    rename, revoke = (str(form["action"]) for form in page.select("main form"))
    assert bob.post(rename, name="the   big one").headers["Location"] == "/me/devices"
    assert names(soup(bob.get("/me/devices"))) == ["the big one"]
    assert bob.post(revoke).headers["Location"] == "/me/devices"
    page = soup(bob.get("/me/devices"))
    assert one(page, ".device")["data-state"] == "revoked"
    assert "approve the code here" in text(page, ".device")
    assert not page.select("main form")
    assert get(team, "/sync/projects", token).status_code == 401
    begun = begin(team, device_id=str(team.people["bob"].device_id))
    assert "makes it active again" in text(soup(bob.post("/pair", code=begun["code"])), "main")
    assert bob.post("/pair/approve", code=begun["code"]).status_code == 303
    assert one(soup(bob.get("/me/devices")), ".device")["data-state"] == "active"


@pytest.mark.parametrize("name", ["", "\x00", HOSTILE, "x" * 101, "<b>"])
def test_a_name_is_checked_in_the_form_and_shown_as_text(team: Team, name: str) -> None:
    bob = team.browser("bob")
    address = f"/me/devices/{team.people['bob'].device_id}/rename"
    answer = bob.post(address, name=name)
    if name == "<b>":
        assert names(soup(bob.get("/me/devices"))) == ["<b>"]
        return
    assert answer.status_code == 422
    assert "xpected a name" in text(soup(answer), "[role=alert]")
    assert names(soup(bob.get("/me/devices"))) == ["a PC"]


def test_nobody_renames_or_revokes_the_pc_of_somebody_else(team: Team) -> None:
    bobs = team.people["bob"].device_id
    for name in ("eve", "cem"):
        for address in (f"/me/devices/{bobs}/rename", f"/devices/{bobs}/revoke"):
            assert team.browser(name).post(address, name="theirs").status_code == 404
    ada = team.browser("ada")
    assert ada.post(f"/me/devices/{bobs}/rename", name="theirs").status_code == 404
    assert one(soup(team.browser("bob").get("/me/devices")), ".device")["data-state"] == "active"


def test_an_admin_sees_everybodys_pcs_and_revokes_them_and_nobody_else_does(team: Team) -> None:
    ada, token = team.browser("ada"), log_in(team, "bob")
    for name in ("bob", "eve"):
        assert team.browser(name).get("/devices").status_code == 403
    page = soup(ada.get("/devices"))
    assert sorted(text(item, ".facts dd:first-of-type") for item in page.select(".device")) == [
        "Ada", "Bob", "Cem", "Eve",
    ]  # fmt: skip
    bobs = team.people["bob"].device_id
    assert ada.post(f"/devices/{bobs}/revoke").headers["Location"] == "/devices"
    assert get(team, "/sync/projects", token).status_code == 401
    assert one(soup(ada.get("/devices")), f"#device-{bobs}")["data-state"] == "revoked"
    assert text(soup(team.browser("bob").get("/me/devices")), ".device .card-sum") == "revoked"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (2 * build.DAY_MS, "clock is 2 days ahead"),
        (-2 * build.DAY_MS, "clock is 2 days behind"),
        (6 * build.MINUTE_MS, "clock is 6 minutes ahead"),
        (4 * build.MINUTE_MS, None),
        (0, None),
    ],
)
def test_a_clock_that_is_off_is_accepted_and_flagged_to_its_owner_and_to_admins(
    team: Team, said: int, told: str | None
) -> None:
    token, bob = log_in(team, "bob"), team.people["bob"]
    event = team.world.event(bob, team.project, build.saved(), build.NOW_MS + said)
    body = wire.encode(wire.Batch(events=[Raw(wire.encode(event))], device_id=bob.device_id))

    def upload(clock: str | None) -> None:
        answer = team.app.test_client().post(
            "/sync/events",
            data=body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"} | ({} if clock is None else {"Date": clock}),
        )
        assert answer.json["syncedIds"] == [event.id], answer.text  # type: ignore[index]

    def notices() -> list[list[str]]:
        pages = [team.browser("bob").get("/me/devices"), team.browser("ada").get("/devices")]
        return [[found.get_text() for found in soup(page).select(".device .notice")] for page in pages]

    upload(wire.clock(build.NOW_MS + said))
    shown = notices()
    if told is None:
        assert shown == [[], []]
    else:
        assert [[told in notice for notice in of] for of in shown] == [[True], [True]]
    assert soup(team.browser("cem").get("/me/devices")).select(".device .notice") == []
    upload(wire.clock(build.NOW_MS))
    assert notices() == [[], []], "set right"


@pytest.mark.parametrize("said", [None, "", "yesterday", "Mon, 99 Nov 2026 25:00:00 GMT", "x" * 5_000])
def test_a_sender_that_does_not_say_its_time_is_not_flagged(said: str | None) -> None:
    assert wire.clock_ahead(said, build.NOW_MS) is None


def test_a_person_without_a_pc_is_told_how_to_pair_one(team: Team) -> None:
    who = people.newcomer(name="Fay", email="fay@example.org", password=build.PASSWORD)
    with team.context.database.writing() as session:
        people.create(session, team.world.by(session), who, Role.DEVELOPER)
    page = soup(team.browser("fay").get("/me/devices"))
    assert "devflow sync auth" in text(page, ".empty")


def test_a_stranger_is_sent_to_sign_in_and_comes_back_to_the_code(team: Team) -> None:
    stranger = Browser(team.app.test_client())
    answer = stranger.get("/pair?code=BCDF-GHJK")
    assert answer.status_code == 302
    entered = stranger.client.post(
        answer.headers["Location"],
        data={"email": "bob@example.org", "password": build.PASSWORD},
        headers=OURS,
    )
    assert entered.headers["Location"] == "/pair?code=BCDF-GHJK"


# How sync is doing there


def report(team: Team, header: str | None, token: str = "") -> None:
    """Bob's PC sends nothing but how it is doing."""
    empty = wire.encode(wire.Batch(events=[], device_id=team.people["bob"].device_id))
    headers = {"Authorization": f"Bearer {token or log_in(team, 'bob')}"} | (
        {} if header is None else {wire.REPORT_HEADER: header}
    )
    answer = team.app.test_client().post(
        "/sync/events", data=empty, content_type="application/json", headers=headers
    )
    assert answer.status_code == 200, answer.text


def told(team: Team, name: str, address: str) -> tuple[dict[str, str], list[str]]:
    """The facts on the card of bob's PC, and the notices."""
    card = one(soup(team.browser(name).get(address)), f"#device-{team.people['bob'].device_id}")
    names, values = ([each.get_text() for each in card.select(tag)] for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True)), [each.get_text() for each in card.select(".notice")]


def test_what_a_pc_reports_is_shown_with_its_time_to_its_owner_and_to_admins(team: Team) -> None:
    report(team, "queue=12, success=987, latency=45, interval=300, batch=500, start=0, path=src")
    for name, address in (("bob", "/me/devices"), ("ada", "/devices")):
        facts, notices = told(team, name, address)
        assert (facts["Still waiting then"], facts["Attempts that worked"]) == ("12", "987 of 1,000")
        assert (facts["Average time of an upload"], facts["Syncs every"]) == ("45 ms", "300 s")
        assert (facts["Events of an upload, at most"], facts["Syncs when it starts"]) == ("500", "no")
        assert "The PC said so" in facts
        assert notices == []
    assert team.browser("eve").get("/devices").status_code == 403
    assert "src" not in team.browser("bob").get("/me/devices").text.partition("<main")[2]


def test_what_a_pc_does_not_say_is_unknown(team: Team) -> None:
    report(team, "queue=0, success=1001, latency=<script>")
    facts, _ = told(team, "bob", "/me/devices")
    assert (facts["Still waiting then"], facts["Attempts that worked"]) == ("0", "unknown")
    assert facts["Average time of an upload"] == "unknown"
    report(team, None)
    assert told(team, "bob", "/me/devices")[0]["Still waiting then"] == "0", (
        "who says nothing changes nothing"
    )
    for header in ("", "x" * 10_000, "queue=many"):
        report(team, header)
        assert "Still waiting then" not in told(team, "bob", "/me/devices")[0], "nothing of it is known"


@pytest.mark.parametrize(
    ("header", "after_s", "said"),
    [
        ("queue=1000, success=900", 0, []),
        ("queue=1001", 0, ["A lot was waiting"]),
        ("success=899", 0, ["More than one attempt in ten failed"]),
        ("queue=5", 3_600, []),
        ("queue=5", 3_601, ["It was not heard of since"]),
        ("queue=5, interval=86400", 86_400, []),
        ("queue=0", 86_400, []),
        ("success=1000", 86_400, []),
    ],
)
def test_alerts_follow_from_what_was_said_and_from_silence(
    team: Team, header: str, after_s: int, said: list[str]
) -> None:
    clock, team = on_a_clock(team)
    report(team, header)
    clock.now_ms += 1_000 * after_s
    _, notices = told(team, "bob", "/me/devices")
    assert len(notices) == len(said)
    assert all(notice.startswith(words) for notice, words in zip(notices, said, strict=True))


@pytest.mark.parametrize(
    ("days", "has_sent", "said"),
    [
        (7, True, []),
        (7.1, True, ["Nothing was heard of it for more than 7 days"]),
        (7, False, []),
        (7.1, False, ["It was let in, but never sent anything"]),
    ],
)
def test_a_pc_that_has_gone_quiet_is_asked_about(
    team: Team, days: float, has_sent: bool, said: list[str]
) -> None:
    clock, team = on_a_clock(team)
    if has_sent:
        report(team, None)
    clock.now_ms += round(days * build.DAY_MS)
    for name, address in (("bob", "/me/devices"), ("ada", "/devices")):
        notices = told(team, name, address)[1]
        assert [
            words for words, notice in zip(said, notices, strict=True) if notice.startswith(words)
        ] == said


def health(page: BeautifulSoup) -> list[list[str]]:
    """The rows of the table of all PCs."""
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in page.select("#health tbody tr")
    ]


def test_all_pcs_stand_in_a_table_that_is_sorted_and_exported(team: Team) -> None:
    report(team, "queue=1200, success=987, latency=45, version=1020003")
    ada = team.browser("ada")
    page = soup(ada.get("/devices?sort=pcs.queue"))
    first, *others = health(page)
    assert first[:3] == ["a PC", "Bob", "look at it"]
    assert first[4:] == ["1,200", "98.7%", "45 ms", "1.20.3"]
    assert [row[2:] for row in others] == [["in order", "none yet", *["unknown"] * 4]] * 3
    assert health(soup(ada.get("/devices?sort=pcs.-person")))[0][1] == "Eve"
    assert ada.get("/devices?sort=pcs.colour").status_code == 400
    exported = ada.get("/devices?sort=pcs.queue&export=pcs").get_data(as_text=True).splitlines()
    assert exported[0].startswith("pc,person,state,last_upload,queue,success,latency_ms,version")
    assert "a PC,Bob,look at it" in exported[1] and "A lot was waiting" in exported[1]
    own = soup(team.browser("bob").get("/me/devices"))
    assert [row[1] for row in health(own)] == ["look at it"]
    assert len(team.browser("bob").get("/me/devices?export=pcs").text.splitlines()) == 2
    assert team.browser("bob").get("/devices?export=pcs").status_code == 403


@pytest.mark.parametrize(("name", "address"), [("bob", "/me/devices"), ("ada", "/devices")])
def test_what_a_pc_says_comes_to_the_open_page(team: Team, name: str, address: str) -> None:
    clock, team = on_a_clock(team)
    token, browser = log_in(team, "bob"), team.browser(name)
    with stream(browser, live_address(browser, address)) as chunks:
        next(chunks)
        clock.now_ms += 1_000
        report(team, "queue=77", token)
        _, panels = panels_of(chunks)
    team.context.hub.end()
    assert "77" in panels["#health"].get_text()
    assert "77" in panels["#cards"].get_text()


def test_a_refused_name_is_shown_on_a_page_that_is_not_kept_up_to_date(team: Team) -> None:
    bob = team.browser("bob")
    wrong = bob.post(f"/me/devices/{team.people['bob'].device_id}/rename", name=HOSTILE)
    page = soup(wrong)
    assert (wrong.status_code, page.select("#live")) == (422, [])
    assert "expected a name" in text(page, "[role=alert]").lower()
