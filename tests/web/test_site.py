"""What every page keeps to: headers, no inline code, what stands in the house's own files, its cost."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from werkzeug.test import TestResponse

import devflow
from devflow import wire
from tests import build
from tests.browsing import Browser, Team, htmx, one, soup, text

ROOT: Final = Path(__file__).parent.parent.parent
GZIP: Final = {"Accept-Encoding": "gzip"}
INLINE: Final = re.compile(r"^(on|hx-on)")


def pages(team: Team) -> Iterator[tuple[str, TestResponse]]:
    """One answer of every kind of page."""
    bob, ada, stranger = team.browser("bob"), team.browser("ada"), team.browser()
    yield "overview", bob.get("/")
    yield "project", bob.get(team.page)
    yield "year", bob.get(f"{team.page}?range=1y")
    yield "fragment", bob.get(team.page, **htmx("main#main"))
    yield "empty", ada.get(f"/projects/{team.world.project('new').public_id}")
    yield "wrong name", ada.post("/projects", name="")
    yield "sign-in", stranger.get("/sign-in")
    yield "wrong password", stranger.post("/sign-in", email="x", password="y")
    yield "security", bob.get("/me/security")
    yield "wrong current password", bob.post("/me/security/password", current="x", new="y")
    ada.post("/me/security/second-factor")
    yield "new second factor", ada.get("/me/security/second-factor")
    yield "bad range", bob.get(f"{team.page}?range=x")
    yield "not found", stranger.get("/nothing")


def test_every_page_has_a_strict_policy_and_nothing_inline(busy: Team) -> None:
    for name, answer in pages(busy):
        policy = answer.headers["Content-Security-Policy"]
        (nonce,) = re.findall(r"script-src 'nonce-([\w-]+)'", policy)
        assert "unsafe" not in policy, name
        assert answer.headers["Cache-Control"] == "no-store", name
        assert answer.headers["X-Content-Type-Options"] == "nosniff", name
        assert {"HX-Request", "HX-Target"} <= set(answer.vary), name
        page = soup(answer)
        assert page.select("style, [style]") == [], name
        for script in page.select("script"):
            assert script["nonce"] == nonce and script["src"] and not script.get_text(), name
        for element in page.find_all(True):
            assert not [a for a in element.attrs if INLINE.match(a)], name
            if any(a.startswith("hx-") for a in element.attrs):
                assert element["hx-nonce"] == nonce, name
        for address in [
            e.get("href") or e.get("src") or e.get("action") for e in page.select("[href],[src],[action]")
        ]:
            assert not re.match(r"(?!data:image/svg)\w+:|//", str(address)), name


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == devflow.__version__


@pytest.mark.parametrize("place", ["static", "tests"])
def test_vendored_files_are_those_the_list_names(place: str) -> None:
    folder = ROOT / place / "vendor"
    listed = dict(
        re.findall(r"^\| `([^`]+)` \|.*`([^`]+)` \|$", (folder / "README.md").read_text(), re.MULTILINE)
    )
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"}
    digests = {name: base64.b64encode(hashlib.sha512(body).digest()).decode() for name, body in files.items()}
    assert digests == listed


def test_no_script_keeps_or_sends_anything_beside_the_pages_it_is_on() -> None:
    elsewhere = re.compile(r"localStorage|sessionStorage|indexedDB|document\.cookie|sendBeacon|postMessage")
    scripts = list((ROOT / "static").rglob("*.js"))
    assert len(scripts) >= 3
    assert [script.name for script in scripts if elsewhere.search(script.read_text("utf-8"))] == []


def test_static_files_are_kept_for_ever_under_the_hash_of_their_content(team: Team) -> None:
    browser = team.browser()
    for link in soup(browser.get("/sign-in")).select("link[rel=stylesheet], script"):
        address = str(link.get("href") or link.get("src"))
        answer = browser.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        again = browser.get(address, If_None_Match=answer.headers["ETag"])
        assert again.status_code == 304
        assert "immutable" in again.headers["Cache-Control"]
        bare = browser.get(address.partition("?")[0])
        assert "immutable" not in bare.headers.get("Cache-Control", "")
        for each in (answer, again, bare):
            each.close()


def test_static_files_are_sent_compressed_to_who_can_read_that(team: Team) -> None:
    client = team.browser().client
    for link in soup(team.browser().get("/sign-in")).select("link, script"):
        address = str(link.get("href") or link.get("src"))
        with client.get(address) as plain, client.get(address, headers=GZIP) as packed:
            assert "Content-Encoding" not in plain.headers
            assert packed.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(packed.data) == plain.data
            assert len(packed.data) == int(packed.headers["Content-Length"]) < len(plain.data)
            assert packed.mimetype == plain.mimetype and "immutable" in packed.headers["Cache-Control"]
            assert "Accept-Encoding" in plain.vary and "Accept-Encoding" in packed.vary
            assert packed.headers["ETag"] != plain.headers["ETag"], "the bytes differ"
        for known, headers in ((packed, GZIP), (plain, {})):
            etag = {"If-None-Match": known.headers["ETag"]}
            with client.get(address, headers={**headers, **etag}) as again:
                assert again.status_code == 304
                assert "Accept-Encoding" in again.vary


def test_a_part_of_a_static_file_and_a_refused_encoding_are_sent_as_they_are(team: Team) -> None:
    client = team.browser().client
    for headers, status in (
        ({"Accept-Encoding": "gzip", "Range": "bytes=0-9"}, 206),
        ({"Accept-Encoding": "gzip;q=0, br"}, 200),
    ):
        for name in ("site.css", "js/live.js"):
            with client.get(f"/static/{name}", headers=headers) as answer:
                assert answer.status_code == status
                assert "Content-Encoding" not in answer.headers
    with client.get("/static/css/none.css", headers=GZIP) as answer:
        assert answer.status_code == 404 and "Content-Encoding" not in answer.headers


def test_a_page_asks_for_one_style_sheet_which_holds_those_of_all_components(team: Team) -> None:
    browser = team.browser()
    (link,) = soup(browser.get("/sign-in")).select("link[rel=stylesheet]")
    sheet = browser.get(str(link["href"]))
    assert sheet.mimetype == "text/css" and sheet.text.count("@layer tokens, base,") == 1
    tokens, *others = (file.read_text() for file in _sheets())
    assert sheet.text.startswith(tokens), "where the order of the layers is named"
    assert all(other in sheet.text for other in others) and len(others) > 10


def test_no_page_is_compressed_since_its_length_could_give_a_secret_away(busy: Team) -> None:
    for address in ("/", busy.page, "/me/security", "/nothing"):
        answer = busy.browser("bob").get(address, Accept_Encoding="gzip")
        assert answer.mimetype == "text/html" and "Content-Encoding" not in answer.headers, address


def _sheets() -> list[Path]:
    """That of the tokens first."""
    return sorted((ROOT / "static" / "css").glob("*.css"), key=lambda file: file.name != "tokens.css")


def test_colours_and_lengths_have_their_names_in_one_file() -> None:
    raw = re.compile(r"#[0-9a-f]{3,8}\b|\b\d+px\b|\brgb|\bhsl|\boklch", re.IGNORECASE)
    for file in _sheets():
        found = raw.findall(re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL))
        assert bool(found) == (file.name == "tokens.css"), (file.name, found)


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/setup/nothing", 404),
        ("GET", "/sign-out", 405),
        ("DELETE", "/", 405),
    ],
)
def test_errors_are_pages_of_the_same_look(team: Team, method: str, address: str, status: int) -> None:
    answer = team.browser("bob").client.open(
        address, method=method, headers={"Sec-Fetch-Site": "same-origin"}
    )
    page = soup(answer)
    assert answer.status_code == status
    assert text(page, ".code") == str(status)
    assert one(page, ".empty a")["href"] == "/"
    assert text(page, ".who-name") == "Signed in as Bob"
    assert ("Allow" in answer.headers) == (status == 405)


def test_an_error_fills_the_block_that_asked(team: Team) -> None:
    bob = team.browser("bob")
    main = soup(bob.get(f"{team.page}?range=x", **htmx("main#main")))
    assert main.select("h1") and not main.select("html")
    small = soup(bob.get(f"{team.page}?range=x", **htmx("p#fresh")))
    assert "Expected range" in text(small, "[role=alert]")
    assert not small.select("h1")


def test_a_fault_is_logged_and_answered_without_asking_the_database(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    bob = team.browser("bob")
    with refusing_statements(team):
        answer = bob.get("/")
    assert answer.status_code == 500
    assert "log has the reason" in text(soup(answer), "main")
    assert "the database is gone" not in answer.text and "Traceback" not in answer.text
    assert "the database is gone" in caplog.text


@pytest.mark.parametrize(("address", "status"), [("/people", 403), ("/projects/{}", 404)])
def test_a_refusal_is_said_without_the_words_of_programs(team: Team, address: str, status: int) -> None:
    answer = team.browser("eve").get(address.format(team.project.public_id))
    assert answer.status_code == status
    said = text(soup(answer), "main")
    assert "manage_people" not in said and str(team.project.public_id) not in said


@pytest.mark.parametrize(
    ("method", "address"), [("GET", "/sync/x"), ("POST", "/auth/x"), ("PUT", "/sync/events/1")]
)
def test_programs_get_problems_instead_of_pages(team: Team, method: str, address: str) -> None:
    answer = team.browser().client.open(address, method=method, json={})
    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json(force=True)["status"] == 404
    assert answer.headers[wire.SERVER_HEADER] == str(team.context.server_id)


@pytest.mark.parametrize("address", ["/", "/projects/{}", "/projects/{}?range=1y", "/projects/{}?range=all"])
def test_a_page_asks_as_little_of_much_as_of_little(team: Team, address: str) -> None:
    bob = team.browser("bob")
    address = address.format(team.project.public_id)
    team.report("bob", (build.NOW_MS, build.saved()))
    with counted(team) as few:
        assert bob.get(address).status_code == 200

    for number in range(6):
        person = team.world.person(f"New{number}")
        project = team.world.project(f"project {number}", team.people["bob"], person)
        saves = [
            (build.NOW_MS - day * build.DAY_MS, build.saved(f"{number}.py")) for day in range(25 * number + 1)
        ]
        team.world.report(person, project, *saves)
        team.report("bob", *saves)
    with counted(team) as many:
        assert bob.get(address).status_code == 200
    assert 0 < len(few) <= 20
    assert len(many) == len(few), many


@contextmanager
def counted(team: Team) -> Iterator[list[str]]:
    """The statements that reading runs inside the block."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    with listening(team, note):
        yield statements


@contextmanager
def refusing_statements(team: Team) -> Iterator[None]:
    def refuse(*_arguments: Any) -> None:
        raise RuntimeError("the database is gone")

    with listening(team, refuse):
        yield


@contextmanager
def listening(team: Team, listener: Any) -> Iterator[None]:
    with team.context.database.reading() as session:
        engine = session.get_bind()
    assert isinstance(engine, Engine)
    event.listen(engine, "before_cursor_execute", listener)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", listener)


def test_a_page_with_a_stale_cookie_asks_to_sign_in(team: Team) -> None:
    browser: Browser = team.browser()
    browser.client.set_cookie("devflow", "forged")
    assert browser.get("/").status_code == 302
