"""A team's server to open pages of: the real app on a real SQLite file, with its clock stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from devflow.context import now_ms
from devflow.models import Person, Project, Role
from tests import build
from tests.browsing import Team
from tests.build import World
from tests.town import Town, open_town, settle


@pytest.fixture(scope="session")
def quiet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a team that has sent nothing; tests get copies."""
    folder = tmp_path_factory.mktemp("quiet")
    context, _ = build.context(folder)
    world = World.of(context)
    world.person("Ada", Role.ADMIN)
    world.project("atlas", world.person("Bob"), world.person("Cem"))
    world.person("Eve")
    context.database.close()
    return folder


@pytest.fixture(scope="session")
def busy_folder(quiet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same team's after some days of work: Bob's, Cem's and a stranger's."""
    folder = tmp_path_factory.mktemp("busy") / "data"
    team = open_copy(quiet_folder, folder)
    for name, minutes in (("bob", 0), ("cem", 3)):
        commits = [
            (
                build.NOW_MS - day * build.DAY_MS - (minutes + 5 * step) * build.MINUTE_MS,
                build.commit(
                    team.people[name].author,
                    f"src/{name}{step}.py",
                    "README.md",
                    insertions=20 * (step + 1) + 1,
                    deletions=day + 1,
                ),
            )
            for day in range(12)
            for step in range(3)
        ]
        team.report(name, *commits)
    stranger = build.commit(build.STRANGER, "LICENSE", insertions=7)
    team.report("bob", (build.NOW_MS - 15 * build.DAY_MS, stranger))
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


@pytest.fixture(scope="session")
def town_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the town; tests get copies."""
    folder = tmp_path_factory.mktemp("town")
    context, _ = build.context(folder, now_ms=now_ms())
    settle(World.of(context))
    context.database.close()
    return folder


@pytest.fixture
def town(town_folder: Path, tmp_path: Path) -> Iterator[Town]:
    opened = open_town(town_folder, tmp_path / "data")
    yield opened
    opened.context.database.close()


def open_copy(original: Path, folder: Path) -> Team:
    shutil.copytree(original, folder)
    context = build.copied(folder)
    world = World.of(context)
    with world.reading() as session:
        project = session.scalars(select(Project)).one()
        names = session.scalars(select(Person.name)).all()
    people = {name.lower(): world.member(name) for name in names}
    return Team(context, build.app(context), world, project, people)
