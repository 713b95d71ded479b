"""Every page that the server has, as each role finds it: by the routes, so that new pages are met, too.

A page that nobody gets to see, or whose address has a part that is not known here, fails whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from flask import Flask
from sqlalchemy import select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from devflow.context import Context
from devflow.models import Event, Person, Project, Team
from tests import build, routes
from tests.browsing import OURS
from tests.build import World
from tests.routes import Ids
from tests.staged import Staged

ROLES: Final = {
    "admin": "Ada",
    "manager": "Bob",
    "lead": "Hal",
    "developer": "Gil",
    "newcomer": "Cem",
    "owes-code": "Dan",
    "nobody": "",
}
"""By name on the stage; together they see every page."""
# What is looked at first where one of several things is to be shown.
TELLING: Final = ("infrastructure", "Platform", "Mobile", "Gil", "Ada")
# What else there is at the address of a page: ranges without events, what was wrong in it, what was done.
ALSO: Final[Mapping[str, Sequence[str]]] = {
    "pages.project": ("range=1y", "range=all", "from=2020-01-01&to=2020-02-01", "range=no"),
    "pages.person": ("range=1y", "from=2020-01-01&to=2020-02-01"),
    "pages.overview": ("sort=projects.commits",),
    "pages.audit_trail": ("from=2020-01-01&to=2020-01-02",),
    "pages.retention": ("days=100",),
    "pages.pair": ("done=approved", "done=denied"),
}
FILES: Final = frozenset(
    f"pages.{name}" for name in ("agent_file", "export_account", "export_audit", "export_csv", "export_jsonl")
)
KINDS: Final[dict[str, Any]] = {"project_id": Project, "team_id": Team, "person_id": Person}
PAGES: Final = "pages."
NOWHERE: Final = "/nothing"


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody of a role gets at an address."""

    role: str
    endpoint: str
    address: str

    @property
    def name(self) -> str:
        """As a file may be called."""
        page = self.endpoint.removeprefix(PAGES).replace("_", "-")
        query = self.address.partition("?")[2]
        return f"{page}{'-' if query else ''}{query.replace('=', '-').replace('&', '-')}"


@dataclass(frozen=True, slots=True)
class Place:
    """A server with something on it: the cookies of roles, and what leads to pages no row leads to."""

    context: Context
    app: Flask
    cookies: Mapping[str, str | None]
    tokens: Mapping[str, str] = field(default_factory=dict)
    """By endpoint, what stands for ``<token>``."""

    def open(self, role: str, address: str) -> TestResponse:
        client = self.app.test_client()
        if (cookie := self.cookies[role]) is not None:
            client.set_cookie("devflow", cookie)
        return client.get(address)


def the_year(context: Context, staged: Staged) -> Place:
    return Place(
        context,
        build.app(context),
        {role: staged.cookies[name] if name else None for role, name in ROLES.items()},
        {"pages.invitation": staged.invitation, "pages.new_password": staged.reset},
    )


def new_server(folder: Path) -> Place:
    """A server that nobody has set up."""
    context, token = build.context(folder)
    return Place(context, build.app(context), {"nobody": None}, {"pages.setup": str(token)})


def set_up(place: Place) -> Place:
    """The new server once its first person has an account; that ends the link for it."""
    client = place.app.test_client()
    account = {"name": "Ada", "email": "ada@example.org", "password": build.PASSWORD}
    answer = client.post(f"/setup/{place.tokens['pages.setup']}", data=account, headers=OURS)
    assert answer.status_code == HTTPStatus.FOUND
    cookie = client.get_cookie("devflow")
    assert cookie is not None
    return replace(place, cookies={"first": cookie.value}, tokens={})


def sights(place: Place) -> list[Sight]:
    """Each page for each role that gets it, and what else is at its address."""
    found = [sight for role in place.cookies for sight in _sights_of(place, role)]
    return found + [Sight(role, f"{PAGES}nowhere", NOWHERE) for role in place.cookies]


def missing(app: Flask, found: Iterable[Sight]) -> set[str]:
    """Endpoints that are in none of what was found, and lead to no file for somebody to keep."""
    return {rule.endpoint for rule in _rules(app)} - FILES - {sight.endpoint for sight in found}


def one_each(found: Sequence[Sight]) -> list[Sight]:
    """Of all who get a page the one who is first among the roles, and so sees most of it."""
    chosen: dict[tuple[str, str], Sight] = {}
    for sight in found:
        chosen.setdefault((sight.endpoint, sight.address.partition("?")[2]), sight)
    return list(chosen.values())


def _rules(app: Flask) -> Iterator[Rule]:
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(PAGES) and "GET" in (rule.methods or ()):
            yield rule


def _sights_of(place: Place, role: str) -> Iterator[Sight]:
    ids = _ids(place, role)
    for rule in _rules(place.app):
        known = {**ids, "token": [place.tokens.get(rule.endpoint, "guess")]}
        asked = routes.addresses(rule, known)
        address = next((each for each in asked if _is_page(place.open(role, each))), None)
        if address is not None:
            for query in ("", *ALSO.get(rule.endpoint, ())):
                yield Sight(role, rule.endpoint, f"{address}{'?' if query else ''}{query}")


def _is_page(answer: TestResponse) -> bool:
    """Whether this is what was asked for, and for people: no refusal, no way elsewhere, no file."""
    with answer:
        return answer.status_code == HTTPStatus.OK and answer.mimetype == "text/html"


def _ids(place: Place, role: str) -> Ids:
    """The ids of all rows, those first that tell most; of events the newest of who looks."""
    with World.of(place.context).reading() as session:
        found = routes.ids(session)
        for name, kind in KINDS.items():
            named = {row.name: row.public_id for row in session.scalars(select(kind))}
            first = [named[each] for each in TELLING if each in named]
            found[name] = first + [each for each in found[name] if each not in first]
        newest = select(Event.event_id).join(Person, Person.id == Event.person_id)
        mine = newest.where(Person.name == ROLES.get(role, "")).order_by(Event.timestamp.desc()).limit(1)
        return found | {"event_id": [UUID(bytes=each) for each in session.scalars(mine)]}
