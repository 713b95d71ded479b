"""A real Chromium at a real server over TLS: the cookie, and what other sites' pages can do with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from devflow import tls
from tests import certificates
from tests.certificates import Files
from tests.conftest import watched
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificate: Files) -> Iterator[ServerProcess]:
    """A server for all tests here, with Alice's account on it."""
    folder = tmp_path_factory.mktemp("server")
    server = ServerProcess(f"sqlite:///{folder / 'devflow.db'}", folder / "data", certificate=certificate)
    server.start()
    with requests.Session() as http:
        http.trust_env = False  # else REQUESTS_CA_BUNDLE, where these tests run, would come before
        http.verify = str(certificate.authority)
        Visitor(server, http).set_up()
    yield server
    server.stop()
    assert "Traceback" not in server.printed()


@pytest.fixture
def alice(browser: Browser, secure: ServerProcess) -> Iterator[Page]:
    """A tab in which Alice is signed in."""
    with watched(browser, ignore_https_errors=True) as page:
        sign_in(page, secure)
        yield page


def sign_in(page: Page, server: ServerProcess) -> None:
    page.goto(server.url)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_the_cookie_counts_for_this_host_alone_and_no_script_reads_it(
    alice: Page, secure: ServerProcess
) -> None:
    cookies = {cookie["name"]: cookie for cookie in alice.context.cookies()}
    assert set(cookies) == {"__Host-devflow", "__Host-known"}
    for cookie in cookies.values():
        assert (cookie["domain"], cookie["path"]) == ("127.0.0.1", "/")
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
    assert alice.evaluate("document.cookie") == ""
    alice.get_by_role("button", name="Sign out").click()
    expect(alice.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert [cookie["name"] for cookie in alice.context.cookies()] == ["__Host-known"]
    sign_in(alice, secure)


def test_the_browser_says_that_a_form_is_the_pages_own(alice: Page) -> None:
    with alice.expect_request(lambda request: request.method == "POST") as sent:
        make_project(alice, "atlas")
    headers = sent.value.all_headers()
    assert headers["sec-fetch-site"] == "same-origin"
    assert "__Host-devflow=" in headers["cookie"]
    expect(alice.get_by_role("heading", level=1)).to_have_text("atlas")


@pytest.mark.parametrize(
    ("host", "site", "has_cookie"),
    [("localhost", "cross-site", False), ("127.0.0.1", "same-site", True)],
)
def test_a_form_of_another_origin_is_refused(
    alice: Page, secure: ServerProcess, certificate: Files, host: str, site: str, has_cookie: bool
) -> None:
    """Between ports of one host the cookie does come along; the origin of the form is what refuses it."""
    with foreign_page(certificate, f"{secure.url}/projects") as port:
        alice.goto(f"https://{host}:{port}/")
        with (
            alice.expect_request(lambda request: request.method == "POST") as sent,
            alice.expect_navigation(),
        ):
            alice.get_by_role("button").click()
        headers = sent.value.all_headers()
        assert (headers["sec-fetch-site"], "cookie" in headers) == (site, has_cookie)
        expect(alice.get_by_role("heading", level=1)).to_have_text("Not allowed")
    alice.goto(secure.url)
    expect(alice.get_by_role("heading", level=1)).to_have_text("Overview")
    expect(alice.get_by_text("stolen")).to_have_count(0)


def test_another_origin_can_neither_read_nor_frame_nor_embed_a_page(
    browser: Browser, alice: Page, secure: ServerProcess, certificate: Files
) -> None:
    with foreign_page(certificate, secure.url) as port:
        stranger = alice.context.new_page()  # its complaints are what is asked for
        stranger.goto(f"https://127.0.0.1:{port}/")
        assert stranger.evaluate(_FETCH, f"{secure.url}/") == "TypeError"
        assert stranger.evaluate(_EMBED, f"{secure.url}/static/icon.svg") == "error"
        assert stranger.evaluate(_OPEN, f"{secure.url}/") is True
        frame = stranger.evaluate_handle(_FRAME, f"{secure.url}/").as_element()
        assert frame is not None
        content = frame.content_frame()
        assert content is not None and "Overview" not in content.content()
        stranger.close()


def make_project(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make project").click()


@contextmanager
def foreign_page(certificate: Files, target: str) -> Iterator[int]:
    """The port of another site over TLS, whose page has a form that is sent to ``target``."""
    page = Response(
        f'<form method="post" action="{target}">'
        '<input name="name" value="stolen"><button>win</button></form>',
        content_type="text/html",
    )
    server = make_server(
        "127.0.0.1",
        0,
        page,
        threaded=True,
        ssl_context=tls.context(certificate.cert, certificate.key),
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_FETCH = """async (address) => {
  try {
    return await (await fetch(address, {credentials: "include"})).text();
  } catch (error) {
    return error.name;
  }
}"""
_EMBED = """(address) => new Promise((done) => {
  const image = new Image();
  image.onload = () => done("load");
  image.onerror = () => done("error");
  image.src = address;
})"""
# COOP: what was opened is not in the opener's hands.
_OPEN = """async (address) => {
  const opened = window.open(address);
  for (let n = 0; n < 200 && !opened.closed; n++) await new Promise((later) => setTimeout(later, 25));
  return opened.closed;
}"""
_FRAME = """(address) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.onload = () => done(frame);
  frame.src = address;
  document.body.append(frame);
})"""
