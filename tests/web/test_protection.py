"""What protects people's browsers, on every route there is: headers, hosts, cookies, foreign requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select
from werkzeug.wrappers import Response

from devflow import models, wire
from devflow.access import Action
from devflow.audit import Actor
from devflow.models import Base, Role, TeamMember
from devflow.web import guard
from devflow.web.security import SAFE_METHODS
from tests import build
from tests.browsing import OURS, Team
from tests.routes import Route, ids, routes

PUBLIC: Final = "https://devflow.example.org"
ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Reading may leave a trail: who looked at whom.
TRAIL: Final = frozenset({"audit", "workspace"})


def always(name: str, answer: Response) -> dict[str, str | None]:
    """What every answer carries; a page whose address is a secret tells other sites even less."""
    own = answer.headers.get("Referrer-Policy")
    is_secret = any(f"/{kind}/" in name for kind in ("setup", "invite", "reset")) and own == "strict-origin"
    return {**ALWAYS, "Referrer-Policy": own if is_secret else ALWAYS["Referrer-Policy"]}


def all_routes(team: Team) -> list[Route]:
    with team.world.reading() as session:
        return list(routes(team.app, ids(session)))


def answers(team: Team, base_url: str = "http://localhost") -> Iterator[tuple[str, Response]]:
    """What strangers and members get of every route, and every kind of error."""
    for name in (None, "bob", "ada"):
        client = _signed_in(team, name, base_url)
        for route in all_routes(team):
            if route.endpoint == "pages.sign_out":
                continue  # the next answers are for who is signed in
            for method in (route.method, "HEAD", "OPTIONS", "DELETE"):
                with client.open(route.address, method=method, headers=OURS, base_url=base_url) as answer:
                    yield f"{name}: {method} {route.address}", answer
    client = team.app.test_client()
    with client.get("/static/icon.svg", base_url=base_url) as first:
        etag = first.headers["ETag"]
    errors: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("not modified", "/static/icon.svg", {"headers": {"If-None-Match": etag}}),
        ("not found", "/nothing", {}),
        ("no such file", "/static/nothing", {}),
        ("foreign form", "/sign-in", {"method": "POST"}),
        ("too large", "/sign-in", {"method": "POST", "headers": OURS, "data": {"email": "x" * 2_000_000}}),
        ("no JSON", "/auth/login", {"method": "POST", "data": b"{", "content_type": "application/json"}),
        ("another protocol", "/healthz", {"headers": {wire.PROTOCOL_HEADER: "99"}}),
    )
    for kind, address, more in errors:
        with client.open(address, base_url=base_url, **more) as answer:
            yield kind, answer


def _signed_in(team: Team, name: str | None, base_url: str) -> FlaskClient:
    client = team.app.test_client()
    if name is not None:
        form = {"email": f"{name}@example.org", "password": build.PASSWORD}
        assert client.post("/sign-in", data=form, headers=OURS, base_url=base_url).status_code == 302
    return client


def test_every_answer_of_every_route_protects_the_browser(busy: Team) -> None:
    statuses = set()
    for name, answer in answers(busy):
        statuses.add(answer.status_code)
        names = {header for header, _ in answer.headers}
        assert {header: answer.headers.get(header) for header in ALWAYS} == always(name, answer), name
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, name
        assert "unsafe" not in policy and "*" not in policy, name
        assert "camera=()" in answer.headers["Permissions-Policy"], name
        assert not [header for header in names if header.startswith("Access-Control-")], name
        assert not {"Server", "X-Powered-By", "Strict-Transport-Security"} & names, name
        if answer.get_data():
            assert answer.mimetype, name
            assert not answer.mimetype.startswith("text/") or "charset=utf-8" in answer.content_type, name
        # What is the same for everybody may be kept.
        is_file = any(word in name for word in ("static", "openapi.json", "not modified"))
        is_file = is_file and answer.status_code in (200, 304)
        assert is_file or answer.headers["Cache-Control"] == "no-store", name
    assert {200, 302, 304, 400, 401, 403, 404, 405, 413} <= statuses


def test_behind_https_every_answer_says_so_for_a_year_and_for_this_host_alone(busy: Team) -> None:
    for name, answer in answers(busy.under(public_url=PUBLIC), PUBLIC):
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000", name
        for cookie in answer.headers.getlist("Set-Cookie"):
            assert re.match(r"__Host-\w+=", cookie), name
            assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; ")), name
            assert "Domain" not in cookie, name


def test_a_fault_is_answered_with_the_same_headers(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setitem(team.app.view_functions, "pages.sign_in", fail)
    answer = team.app.test_client().get("/sign-in")
    assert answer.status_code == 500
    assert "broken on purpose" not in answer.text and "Traceback" not in answer.text
    assert {header: answer.headers.get(header) for header in ALWAYS} == ALWAYS
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_each_page_has_a_nonce_of_its_own(team: Team) -> None:
    client = team.app.test_client()
    policies = {client.get("/sign-in").headers["Content-Security-Policy"] for _ in range(5)}
    assert len(policies) == 5


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("devflow.example.org", 200),
        ("DEVFLOW.example.org:443", 200),
        ("devflow.example.org:8443", 200),
        ("evil.example", 421),
        ("devflow.example.org.evil.example", 421),
        ("devflow.example.org@evil.example", 421),
        ("localhost", 421),
        ("127.0.0.1", 421),
        ("[::1]", 421),
        ("[evil", 421),
        ("a b<>", 421),
        ("", 421),
    ],
)
def test_behind_https_only_the_public_name_is_answered(team: Team, host: str, status: int) -> None:
    client = team.under(public_url=PUBLIC).app.test_client()
    for address in ("/sign-in", "/static/icon.svg"):
        with client.get(address, headers={"Host": host}) as answer:
            assert answer.status_code == status
            assert host == "" or status == 200 or host not in answer.get_data(as_text=True)
    assert client.get("/healthz", headers={"Host": host}).status_code == 200
    program = client.get("/sync/projects", headers={"Host": host})
    assert (program.status_code, program.is_json) == (401 if status == 200 else 421, True)


def test_under_a_wrong_name_no_link_leads_there(team: Team) -> None:
    """Without https any name is answered: none of it may come back."""
    bob = team.browser("bob")
    for route in all_routes(team):
        headers = OURS | {"Host": "localhost"} | {"X-Forwarded-Host": "evil.example"}
        with bob.client.open(route.address, method=route.method, headers=headers) as answer:
            assert "evil.example" not in str(answer.headers) + answer.get_data().decode("latin-1")
        with team.app.test_client().open(
            route.address, method=route.method, headers=OURS | {"Host": "evil.example"}
        ) as answer:
            assert "evil.example" not in str(answer.headers) + answer.get_data().decode("latin-1")


FOREIGN: Final[dict[str, dict[str, str]]] = {
    "from another site": {"Sec-Fetch-Site": "cross-site"},
    "from a sister host": {"Sec-Fetch-Site": "same-site"},
    "from no page": {"Sec-Fetch-Site": "none"},
    "with words of its own": {"Sec-Fetch-Site": "same-origin, cross-site"},
    "with a true origin, but not from here": {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    "an opaque origin": {"Origin": "null"},
    "another origin": {"Origin": "http://evil.example"},
    "another port": {"Origin": "http://localhost:8081"},
    "no scheme": {"Origin": "localhost"},
    "another scheme": {"Origin": "file://localhost"},
    "an empty origin": {"Origin": ""},
    "the referrer only": {"Referer": "http://localhost/"},
    "nothing said": {},
    "another method meant": {
        "X-HTTP-Method-Override": "GET",
        "X-HTTP-Method": "GET",
        "X-Method-Override": "GET",
    },
    "htmx": {"HX-Request": "true", "X-Requested-With": "XMLHttpRequest"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN.keys())
def test_no_form_of_another_site_is_taken(team: Team, headers: Mapping[str, str]) -> None:
    ada = team.browser("ada")
    before = rows(team)
    for route in all_routes(team):
        if route.method in SAFE_METHODS or route.endpoint.startswith("api."):
            continue
        form = {"name": "new", "_method": "GET"}
        answer = ada.client.open(route.address, method=route.method, headers=dict(headers), data=form)
        assert answer.status_code == 403, route
    assert rows(team) == before


def test_an_origin_by_plain_http_is_another_one_behind_https(team: Team) -> None:
    client = team.under(public_url=PUBLIC).app.test_client()
    statuses = [
        client.post(
            "/sign-in", base_url=PUBLIC, headers={"Origin": f"{scheme}://devflow.example.org"}
        ).status_code
        for scheme in ("http", "https")
    ]
    assert statuses == [403, 422]


def test_to_look_changes_nothing(busy: Team) -> None:
    """Whatever a GET or HEAD says it rather were; reading may leave a trail."""
    browsers = [busy.browser(name) for name in (None, "bob", "ada")]
    for method in ("GET", "HEAD"):
        for route in all_routes(busy):
            before = rows(busy)
            for browser in browsers:
                with browser.client.open(
                    route.address,
                    method=method,
                    headers=OURS | {"X-HTTP-Method-Override": "POST", "X-HTTP-Method": "DELETE"},
                    data={"_method": "POST", "name": "new"},
                ):
                    pass
            assert rows(busy) == before, (method, route)


def signed_in(team: Team, name: str) -> dict[str, str]:
    """Headers of a program of theirs."""
    given = {"email": f"{name}@example.org", "password": build.PASSWORD}
    found = team.app.test_client().post("/auth/login", json=given)
    return {"Authorization": f"Bearer {found.get_json()['token']}"}


def test_the_doors_for_programs_take_no_cookie_and_pages_no_token(team: Team) -> None:
    bob = team.browser("bob")
    bearer = signed_in(team, "bob")
    stranger = team.app.test_client()
    closed = [route for route in all_routes(team) if getattr(route.view, "action", None) is not None]
    for route in closed:
        if route.endpoint.startswith("api."):
            answer = bob.client.open(route.address, method=route.method, headers=OURS, json={})
            assert answer.status_code == 401, route
        else:
            answer = stranger.open(route.address, method=route.method, headers=OURS | bearer)
            assert answer.headers["Location"].startswith("/sign-in"), route
    assert {route.endpoint.partition(".")[0] for route in closed} == {"api", "pages"}


def test_no_other_origin_is_let_in_by_a_preflight(team: Team) -> None:
    client = team.browser("bob").client
    for route in all_routes(team):
        for method in ("OPTIONS", route.method):
            headers = {
                "Origin": "http://evil.example",
                "Access-Control-Request-Method": route.method,
                "Access-Control-Request-Headers": "authorization, content-type",
                "Access-Control-Request-Private-Network": "true",
            }
            with client.open(route.address, method=method, headers=headers) as answer:
                allowed = [name for name, _ in answer.headers if name.startswith("Access-Control")]
                assert allowed == [], route


def rows(team: Team) -> dict[str, list[str]]:
    """Every row of every table, without the trail that reading may leave."""
    with team.world.reading() as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table))))
            for table in Base.metadata.sorted_tables
            if table.name not in TRAIL
        }


def test_a_door_that_looks_in_the_act_and_does_not_act_answers_nobody(team: Team) -> None:
    @guard.needs(Action.SYNC, in_the_act=True)
    def forgetful() -> str:
        return "told to somebody of whom only the token was looked at"

    team.app.add_url_rule("/forgetful", "api.forgetful", forgetful)
    answers = [
        team.app.test_client().get("/forgetful", headers=headers) for headers in ({}, signed_in(team, "bob"))
    ]
    assert [answer.status_code for answer in answers] == [401, 500]
    assert not any("told" in answer.text for answer in answers)


def test_a_right_that_is_lost_on_the_way_is_missed_in_the_transaction(team: Team) -> None:
    """What the door saw may be over when the writing begins."""
    core = team.world.team("core", {team.people["bob"]: Role.MANAGER})
    done: list[Actor] = []
    database = team.world.database

    @guard.needs(Action.MANAGE_TEAM)
    def late(team: models.Team) -> str:
        with database.writing() as session:
            session.execute(delete(TeamMember).where(TeamMember.team_id == team.id))
        guard.act(lambda _session, by: done.append(by))
        return ""

    team.app.add_url_rule("/late/<uuid:team_id>", "pages.late", late, methods=["POST"])
    answer = team.browser("bob").post(f"/late/{core.public_id}")
    assert (answer.status_code, done) == (404, [])
