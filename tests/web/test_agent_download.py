"""The agent, given away by the server: the page that says how to install it, and the wheel itself."""

from __future__ import annotations

import hashlib
import re
import shlex
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devflow.agent_wheel import NAME
from tests.browsing import Team, one, soup, text

CONTENT = b"as good as a wheel"
SUM = hashlib.sha256(CONTENT).hexdigest()
ADDRESS = f"http://localhost:8080/agent/{NAME}#sha256={SUM}"


@pytest.fixture
def folder(team: Team) -> Path:
    made = team.context.settings.agent_path
    made.mkdir()
    (made / NAME).write_bytes(CONTENT)
    return made


def test_anybody_is_given_the_wheel_with_its_length_and_asked_to_look_again(team: Team, folder: Path) -> None:
    stranger = team.browser()
    answer = stranger.get(f"/agent/{NAME}")
    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "public, no-cache"
    again = stranger.get(f"/agent/{NAME}", If_None_Match=answer.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    (folder / NAME).write_bytes(b"built anew, and larger")
    assert stranger.get(f"/agent/{NAME}", If_None_Match=answer.headers["ETag"]).status_code == 200
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("name", ["other.whl", "..%2Fsecret.key", "devflow.db", "%2e%2e/secret.key"])
def test_nothing_but_the_wheel_is_given_away(team: Team, folder: Path, name: str) -> None:
    (folder / "other.whl").write_bytes(b"x")
    assert team.browser().get(f"/agent/{name}").status_code == 404


def test_the_page_has_the_commands_for_this_very_file_and_its_sum(team: Team, folder: Path) -> None:
    for browser in (team.browser(), team.browser("bob")):
        page = soup(browser.get("/agent"))
        commands = [shlex.split(code.get_text()) for code in page.select(".steps code")]
        assert commands == [
            ["pipx", "install", ADDRESS],
            ["uv", "tool", "install", ADDRESS],
            ["python3", "-m", "pip", "install", ADDRESS],
        ]
        assert text(page, ".sum") == SUM


def test_a_server_without_a_wheel_says_how_to_get_one(team: Team) -> None:
    page = soup(team.browser("bob").get("/agent"))
    assert "make wheel" in text(page, ".empty")
    assert text(page, ".steps code") == "python3 -m pip install ."
    assert team.browser().get(f"/agent/{NAME}").status_code == 404
    steps = soup(team.browser("bob").get("/start"))
    assert steps.select("#install") == []
    assert one(steps, ".start li:first-child a")["href"] == "/agent"


def test_the_lock_of_what_builds_the_wheel_is_whole() -> None:
    """By hash nothing else is installed into the image, so with one name too few it cannot be built."""
    lock = Path(__file__).parent.parent.parent / "requirements/build.txt"
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(), re.MULTILINE))
    assert "hatchling" in locked
    needed = {
        canonicalize_name(requirement.name)
        for name in locked
        for requirement in map(Requirement, metadata.requires(name) or ())
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }
    assert needed <= locked
