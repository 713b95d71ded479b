"""A town to be asked anything: two teams that must not see each other, everybody's cookies and tokens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow.accounts import links, sessions, tokens
from devflow.accounts.links import Offer
from devflow.audit import Actor
from devflow.context import Context, now_ms
from devflow.models import AuditEntry, BrowserSession, Device, Link, Person, Project, Role, Team
from tests import build
from tests.build import Member, World

# Who there is. Sue is the one things are about; the first four share the red team and the project
# atlas with her. The next three are as much, in the blue team and the project basalt. Rex led the
# red team and was removed from it and from atlas. Ada, an admin, is a member of nothing.
RED: Final = "sue dan lea max"
BLUE: Final = "dov leo mia"
EVERYBODY: Final = f"{RED} {BLUE} rex ada"
MANAGERS: Final = "max mia"

TEAM_NAMES: Final = {"red": "Zinnober", "blue": "Kobaltine"}
PROJECT_NAMES: Final = {"red": "atlasque", "blue": "basaltine"}
NOWHERE: Final = UUID("00000000-0000-4000-8000-000000000000")
# What stands in an address and is nobody's.
PLAIN: Final = {"filename": "icon.svg", "form": "csv"}


@dataclass(frozen=True, slots=True)
class Town:
    """Two teams that must not see each other, open to be asked anything."""

    context: Context
    app: Flask
    world: World
    people: dict[str, Member]
    cookies: dict[str, str]
    bearers: dict[str, str]
    things: dict[str, tuple[UUID, UUID]]

    def restore(self) -> None:
        """Make undone what was done since the town was opened."""
        self.context.database.close()
        folder = self.context.settings.data_path
        for file in folder.glob("devflow.db-*"):
            file.unlink()
        shutil.copyfile(folder / "as-opened.db", folder / "devflow.db")

    def audit_count(self) -> int:
        with self.world.reading() as session:
            return session.scalar(select(func.count()).select_from(AuditEntry)) or 0

    def acts_after(self, count: int) -> Sequence[AuditEntry]:
        """What the trail has beyond its first ``count`` entries."""
        with self.world.reading() as session:
            later = select(AuditEntry).where(AuditEntry.id > count).order_by(AuditEntry.id)
            return session.scalars(later).all()


def settle(world: World) -> None:
    """The people, teams and projects; every name is a word that stands nowhere else on any page."""
    admin = world.person(name_of("ada"), Role.ADMIN)
    with world.database.writing() as session:
        for _ in range(2):
            links.invite(session, world.by(session, admin), Offer(Role.DEVELOPER))
    people = {
        name: world.person(name_of(name), Role.MANAGER if name in MANAGERS.split() else Role.DEVELOPER)
        for name in f"{RED} {BLUE} rex".split()
    }
    roles = {"lea": Role.LEAD, "max": Role.MANAGER, "leo": Role.LEAD, "mia": Role.MANAGER}
    for color, names in (("red", RED), ("blue", BLUE)):
        members = {people[name]: roles.get(name, Role.DEVELOPER) for name in names.split()}
        world.team(TEAM_NAMES[color], members)
        world.project(PROJECT_NAMES[color], *members, roles=members)


def name_of(name: str) -> str:
    return f"{name.capitalize()}quill"


def open_town(original: Path, folder: Path) -> Town:
    shutil.copytree(original, folder)
    context, _ = build.context(folder, now_ms=now_ms())
    world = World.of(context)
    people = {name: world.member(name_of(name)) for name in EVERYBODY.split()}
    cookies = {name: cookie(context, member) for name, member in people.items()}
    cookies["ended"] = cookie(context, people["sue"], is_ended=True)
    bearers = {name: bearer(context, member) for name, member in people.items()}
    bearers["revoked"] = bearer(context, people["sue"], is_revoked=True)
    with world.reading() as session:
        found = things(session, people)
    context.database.close()  # which leaves one whole file
    shutil.copyfile(folder / "devflow.db", folder / "as-opened.db")
    return Town(context, build.app(context), world, people, cookies, bearers, found)


def things(session: Session, people: dict[str, Member]) -> dict[str, tuple[UUID, UUID]]:
    """What a name in an address stands for: the red one and the blue one."""

    def named(kind: Any, names: dict[str, str]) -> tuple[UUID, UUID]:
        found = {row.name: row.public_id for row in session.scalars(select(kind))}
        return found[names["red"]], found[names["blue"]]

    def session_of(name: str) -> UUID:
        own = select(BrowserSession.public_id).where(BrowserSession.person_id == people[name].id)
        return session.scalars(own).one()

    invitations = session.scalars(select(Link.public_id).order_by(Link.public_id)).all()
    return {
        "project_id": named(Project, PROJECT_NAMES),
        "team_id": named(Team, TEAM_NAMES),
        "person_id": (people["sue"].public_id, people["dov"].public_id),
        "device_id": (people["sue"].device_id, people["dov"].device_id),
        "member_id": (people["dan"].public_id, people["leo"].public_id),
        "viewer_id": (people["lea"].public_id, people["leo"].public_id),
        "session_id": (session_of("sue"), session_of("dov")),
        "invitation_id": (invitations[0], invitations[1]),
    }


def cookie(context: Context, member: Member, *, is_ended: bool = False) -> str:
    """The cookie of a browser that is signed in, or was."""
    with context.database.writing() as session:
        person = session.get_one(Person, member.id)
        by = Actor(person, context.now(), context.vault)
        token = sessions.begin(session, by, person, "a browser")
        if is_ended:
            sessions.end(session, by, token)
        return token


def bearer(context: Context, member: Member, *, is_revoked: bool = False) -> str:
    """The access token of a PC that may speak for its person, or no longer may."""
    world = World.of(context)
    device_id = world.second_device(member).device if is_revoked else member.device
    with context.database.writing() as session:
        person, device = session.get_one(Person, member.id), session.get_one(Device, device_id)
        by = Actor(person, context.now(), context.vault)
        token = tokens.issue(session, by, person, device, context.server_id).token
        # It has reached its PC: the first use of a token writes that down.
        tokens.confirm(
            session, tokens.holder(session, tokens.claims(context.vault, token, context.server_id), by.now_ms)
        )
        if is_revoked:
            device.revoked_at = context.now()
        return token


def routes(app: Flask) -> list[tuple[str, str]]:
    """Every (method, rule) there is."""
    return sorted(
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def address(town: Town, rule: str, color: str) -> str:
    """The address of the red or blue thing, or of one that is not there."""

    def value(match: re.Match[str]) -> str:
        if match["name"] in PLAIN:
            return PLAIN[match["name"]]
        pair = town.things.get(match["name"])
        if pair is None or color == "nowhere":
            return str(NOWHERE)
        return str(pair[("red", "blue").index(color)])

    return re.sub(r"<(?:\w+:)?(?P<name>\w+)>", value, rule)
