"""A team's server to open pages of: the real app on a real SQLite file, with its clock stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import build
from browsing import Team
from devflow.factory import create_app
from devflow.models import Role


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    context, _ = build.context(tmp_path)
    people = {
        name: build.person(context, name, Role.ADMIN if name == "ada" else Role.DEVELOPER)
        for name in ("ada", "bob", "cem", "eve")
    }
    project = build.project(context, "atlas", [people["bob"], people["cem"]])
    yield Team(context, create_app(context), project, people)
    context.database.close()


@pytest.fixture
def busy(team: Team) -> Team:
    """The team with some days of work in it: Bob's, Cem's and a stranger's."""
    for name, minutes in (("bob", 0), ("cem", 3)):
        acts = [
            build.commit(
                build.NOW - day * build.DAY - minutes * build.MINUTE - step * 5 * build.MINUTE,
                f"{name}@example.org",
                [(f"src/{name}{step}.py", 20 * (step + 1), day), ("README.md", 1, 1)],
            )
            for day in range(12)
            for step in range(3)
        ]
        build.send(team.context, team.people[name], team.project, acts)
    stranger = [build.commit(build.NOW - 15 * build.DAY, "guest@example.com", [("LICENSE", 7, 0)])]
    build.send(team.context, team.people["bob"], team.project, stranger)
    return team
