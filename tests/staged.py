"""A team's server with something on every page: for pictures of them, and for rules that all keep."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID, uuid4

import pyotp
from sqlalchemy.orm import Session

from devflow import receipts
from devflow.accounts import devices, erasure, links, pairing, people, second_factor, sessions
from devflow.accounts.links import Offer
from devflow.context import Context
from devflow.models import Person, Project, ProjectMember, Role
from devflow.wire import BranchSwitched, EventData
from tests import build
from tests.build import Member, World

DAYS: Final = 12
FIREFOX: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


@dataclass(frozen=True, slots=True)
class Staged:
    """What leads to pages: ids and open links, and by name the cookies of people who are signed in.

    Ada is an admin who manages a team and projects; Bob leads the team and is setting up a second
    factor; Cem is in nothing; Dan gave his password and owes the code; Eve asked to be deleted; Fay
    is deactivated.
    """

    cookies: dict[str, str]
    people: dict[str, UUID]
    team: UUID
    project: UUID
    silent: UUID
    invitation: str
    reset: str
    pairing_code: str
    factor_code: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Who and what there is before anybody works: everybody by name, and the projects of Ada and Bob."""

    people: dict[str, Member]
    projects: list[Project]


Work = Callable[[World, Scene], Mapping[str, Member]]
"""Has people work, and says by name who else is signed in."""


def stage(context: Context, work: Work | None = None) -> Staged:
    """Fill a prepared workspace, with the work of twelve days unless another is given."""
    world = World.of(context)
    ada = world.person("Ada", Role.ADMIN)
    bob, cem, dan, eve, fay = map(world.person, ("Bob", "Cem", "Dan", "Eve", "Fay"))
    managed = {ada: Role.MANAGER}
    team = world.team("Platform", {ada: Role.MANAGER, bob: Role.LEAD, eve: Role.DEVELOPER})
    found = [
        world.project(name, ada, bob, roles=managed) for name in ("atlas-api", "billing", "design-system")
    ]
    silent = world.project("field-notes", ada, roles=managed)
    scene = Scene({"Ada": ada, "Bob": bob, "Cem": cem, "Dan": dan, "Eve": eve, "Fay": fay}, found)
    working = (work or _work)(world, scene)
    with world.database.writing() as session:
        by_ada, by_bob, by_eve = (world.by(session, who) for who in (ada, bob, eve))
        devices.rename(session, by_ada, ada.device_id, "Workstation")
        devices.enrol(session, by_ada, by_ada.who(), lost := uuid4(), "Old laptop")
        devices.revoke(session, by_ada, lost)
        receipts.note_view(session, by_bob, by_ada.who(), date(2026, 10, 21), date(2026, 11, 19), "person")
        people.change_role(session, by_ada, bob.public_id, Role.MANAGER)
        people.deactivate(session, by_ada, fay.public_id)
        erasure.ask(session, by_eve)
        second_factor.offer(session, by_bob)
        secret = second_factor.offered(session, world.vault, by_bob.who())
        offer = Offer(Role.DEVELOPER, team_id=team.public_id, project_id=found[0].public_id)
        invitation = links.invite(session, by_ada, offer)
        reset = links.make_reset(session, by_ada, cem.public_id)
        started = pairing.start(session, world.by(session), uuid4(), "New laptop")
        signed_in = {"Ada": ada, "Bob": bob, "Cem": cem, "Dan": dan, **working}
        cookies = {name: _cookie(world, session, who, name == "Dan") for name, who in signed_in.items()}
        _cookie(world, session, ada)
    return Staged(
        cookies=cookies,
        people={name: who.public_id for name, who in scene.people.items()},
        team=team.public_id,
        project=found[0].public_id,
        silent=silent.public_id,
        invitation=invitation,
        reset=reset,
        pairing_code=started.code,
        factor_code=pyotp.TOTP(secret).at(world.now_ms // 1_000),
    )


def _cookie(world: World, session: Session, who: Member, needs_code: bool = False) -> str:
    person = session.get_one(Person, who.id)
    return sessions.begin(session, world.by(session, who), person, FIREFOX, needs_code=needs_code)


def _work(world: World, scene: Scene) -> Mapping[str, Member]:
    chance, members = random.Random(7), (scene.people["Ada"], scene.people["Bob"])
    # So that on one project enough people work for its page to tell of hours and files.
    others = tuple(map(world.person, ("Gus", "Hana")))
    with world.database.writing() as session:
        for who in others:
            session.add(ProjectMember(project_id=scene.projects[0].id, person_id=who.id, role=Role.DEVELOPER))
    for number, project in enumerate(scene.projects):
        for who in (*members, *(() if number else others)):
            world.report(who, project, *_deeds(chance, who.author, 0.85 - 0.25 * number))
    outside = (build.NOW_MS - days_ago * build.DAY_MS for days_ago in (1, 4))
    world.report(
        members[0], scene.projects[-1], *((at, build.commit(build.STRANGER, "src/app.py")) for at in outside)
    )
    world.refresh()
    return {}


def _deeds(chance: random.Random, author: str, busy: float) -> Iterator[tuple[int, EventData]]:
    for days_ago in range(DAYS):
        morning = build.NOW_MS - days_ago * build.DAY_MS - 6 * build.HOUR_MS
        is_weekend = (morning // build.DAY_MS + 3) % 7 > 4
        if chance.random() > busy * (0.1 if is_weekend else 1):
            continue
        at = morning + chance.randrange(build.HOUR_MS)
        for _ in range(chance.randrange(6, 32)):
            at += chance.randrange(2, 17) * build.MINUTE_MS
            if at > build.NOW_MS:
                break
            path = f"{chance.choice(('src', 'tests', 'docs'))}/part{chance.randrange(40)}.py"
            yield at, build.saved(path)
            if chance.random() < 0.04:
                name = chance.choice(("main", "main", "feature/charts", "fix/late-events"))
                yield at + 5_000, BranchSwitched(branch=name, previous=None)
            if chance.random() < 0.22:
                lines = int(chance.lognormvariate(3, 1.1))
                deletions = int(lines * chance.random() * 0.8)
                yield at + 20_000, build.commit(author, path, insertions=lines, deletions=deletions)
