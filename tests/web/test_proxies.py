"""What proxies say of a request: believed from those the operator trusts, from nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, request

from devflow.web import guard
from tests.browsing import OURS, Team

CLIENT = "203.0.113.9"
SPOOFED = {
    "X-Forwarded-For": CLIENT,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": CLIENT,
    "Forwarded": f"for={CLIENT};proto=https;host=evil.example",
}


def with_probe(team: Team, proxies: str) -> Flask:
    """The team's app, and a page on it that tells what the server thinks of the request."""
    app = team.under(trusted_proxies=proxies).app

    @guard.public("a test's own")
    def probe() -> dict[str, Any]:
        return {
            "sender": request.remote_addr,
            "route": list(request.access_route),
            "root": request.url_root,
            "left": sorted(name for name, _ in request.headers if "Forwarded" in name or "Real" in name),
        }

    app.add_url_rule("/probe", view_func=probe)
    return app


def seen(app: Flask, peer: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = app.test_client().get("/probe", headers=headers, environ_overrides={"REMOTE_ADDR": peer})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


@pytest.mark.parametrize("proxies", ["", "192.0.2.1", "10.0.0.0/8,fd00::/8", "unix"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.2", "::1", "2001:db8::1", ""])
def test_of_anybody_else_these_headers_change_nothing(team: Team, proxies: str, peer: str) -> None:
    if proxies == "unix" and peer == "":
        peer = "::1"
    app = with_probe(team, proxies)
    assert seen(app, peer, SPOOFED) == seen(app, peer, {})


@pytest.mark.parametrize(
    ("proxies", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("10.0.0.0/8", "10.200.3.4"),
        ("10.0.0.0/8", "::ffff:10.200.3.4"),
        ("fd00::/8", "fd00::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("unix", ""),
    ],
)
def test_of_a_trusted_proxy_they_count(team: Team, proxies: str, peer: str) -> None:
    assert seen(with_probe(team, proxies), peer, SPOOFED) == {
        "sender": CLIENT,
        "route": [CLIENT],
        "root": "https://evil.example/",
        "left": [],
    }


@pytest.mark.parametrize(
    ("forwarded", "sender"),
    [
        (CLIENT, CLIENT),
        (f"198.51.100.7, {CLIENT}", CLIENT),
        (f"198.51.100.7, {CLIENT}, 10.0.0.2, 10.0.0.3", CLIENT),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),  # the farthest one that is known
        (f"{CLIENT}, nonsense", "10.0.0.1"),
        (f"nonsense, {CLIENT}", CLIENT),
        (f"{CLIENT}, unknown, 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
        (",,", "10.0.0.1"),
        ("10.0.0.256", "10.0.0.1"),
        ("<script>", "10.0.0.1"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        (f"{CLIENT}:4711", CLIENT),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"\t{CLIENT} ", CLIENT),
        ("010.0.0.2", "10.0.0.1"),
        ("1" * 4_000, "10.0.0.1"),
    ],
)
def test_the_sender_is_the_right_most_address_that_is_not_trusted(
    team: Team, forwarded: str, sender: str
) -> None:
    app = with_probe(team, "10.0.0.0/8")
    assert seen(app, "10.0.0.1", {"X-Forwarded-For": forwarded})["sender"] == sender


@pytest.mark.parametrize(
    ("proto", "host", "root"),
    [
        ("https", "devflow.example.org", "https://devflow.example.org/"),
        ("HTTPS", "devflow.example.org:8443", "https://devflow.example.org:8443/"),
        ("https", "[2001:db8::7]:8443", "https://[2001:db8::7]:8443/"),
        ("http, https", "evil.example, devflow.example.org", "https://devflow.example.org/"),
        ("gopher", "devflow.example.org", "http://devflow.example.org/"),
        ("", "", "http://localhost/"),
        ("https", "a b", "https://localhost/"),
        ("https", "a/b", "https://localhost/"),
        ("https", "a@b", "https://localhost/"),
        ("https", "<script>", "https://localhost/"),
    ],
)
def test_scheme_and_host_are_the_proxys_if_they_are_such(
    team: Team, proto: str, host: str, root: str
) -> None:
    app = with_probe(team, "10.0.0.1")
    assert seen(app, "10.0.0.1", {"X-Forwarded-Proto": proto, "X-Forwarded-Host": host})["root"] == root


def test_a_header_of_two_lines_is_one_list(team: Team) -> None:
    app = with_probe(team, "10.0.0.0/8")
    lines = [("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-For", CLIENT)]
    answer = app.test_client().get("/probe", headers=lines, environ_overrides={"REMOTE_ADDR": "10.0.0.1"})
    assert answer.get_json()["sender"] == CLIENT


def test_a_stranger_cannot_pass_for_this_site_by_a_forwarded_host(team: Team) -> None:
    """Where browsers leave Sec-Fetch-Site out, Origin has to name the host: the real one."""
    headers = {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}
    strangers, trusted = (team.under(trusted_proxies=proxies).app for proxies in ("", "127.0.0.1"))
    assert strangers.test_client().post("/sign-in", headers=headers).status_code == 403
    assert trusted.test_client().post("/sign-in", headers=headers).status_code == 422


def test_no_spoofed_header_changes_a_cookie(team: Team) -> None:
    answer = team.app.test_client().post(
        "/sign-in",
        data={"email": "bob@example.org", "password": "correct horse battery"},
        headers=OURS | SPOOFED,
    )
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("devflow=")
    assert "Secure" not in cookie and "Domain" not in cookie and "Path=/" in cookie
    assert answer.headers["Location"] == "/"
