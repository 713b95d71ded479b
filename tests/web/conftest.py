"""A team's server to open pages of: the real app on a real SQLite file, with its clock stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from devflow.context import Context
from devflow.factory import create_app
from devflow.models import Person, Project, Role
from tests import build
from tests.browsing import Team


@pytest.fixture(scope="session")
def quiet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a team that has sent nothing; tests get copies."""
    folder = tmp_path_factory.mktemp("quiet")
    context, _ = build.context(folder)
    people = {
        name: build.person(context, name, Role.ADMIN if name == "ada" else Role.DEVELOPER)
        for name in ("ada", "bob", "cem", "eve")
    }
    build.project(context, "atlas", [people["bob"], people["cem"]])
    context.database.close()
    return folder


@pytest.fixture(scope="session")
def busy_folder(quiet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same team's after some days of work: Bob's, Cem's and a stranger's."""
    folder = tmp_path_factory.mktemp("busy") / "data"
    team = open_copy(quiet_folder, folder)
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
    team.context.database.close()
    return folder


@pytest.fixture
def team(quiet_folder: Path, tmp_path: Path) -> Iterator[Team]:
    opened = open_copy(quiet_folder, tmp_path / "data")
    yield opened
    opened.context.database.close()


@pytest.fixture
def busy(busy_folder: Path, tmp_path: Path) -> Iterator[Team]:
    opened = open_copy(busy_folder, tmp_path / "data")
    yield opened
    opened.context.database.close()


def open_copy(original: Path, folder: Path) -> Team:
    shutil.copytree(original, folder)
    context, _ = build.context(folder)
    return Team(context, create_app(context), _project(context), _people(context))


def _project(context: Context) -> UUID:
    with context.database.reading() as session:
        return session.scalars(select(Project.public_id)).one()


def _people(context: Context) -> dict[str, UUID]:
    with context.database.reading() as session:
        return {person.name.lower(): person.public_id for person in session.scalars(select(Person))}
