"""Every route with an address that leads somewhere, so that a test meets new routes by itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from devflow import access
from devflow.models import Base

# What stands in an address where it is no id of a row.
WORDS: Final = {
    "token": "guess",
    "filename": "icon.svg",
    "wheel": "devflow_monitor-0.1.0-py3-none-any.whl",
    "form": "csv",
    "event_id": "00000000-0000-4000-8000-000000000000",
}
# What an id is called where there is a more telling word than its table's.
CALLED: Final = {"member_id": "person_id", "viewer_id": "person_id", "invitation_id": "link_id"}
NOBODY: Final = UUID(int=0)
Ids = Mapping[str, Sequence[UUID | str]]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    address: str
    endpoint: str
    view: Any


def ids(session: Session) -> dict[str, list[UUID]]:
    """The public ids of all rows, by the name that they have in addresses."""
    names = {kind.__tablename__: scope for scope, kind in access.SCOPES.items()}
    return {
        f"{names.get(table.name, table.name.removesuffix('s'))}_id": list(
            session.scalars(select(table.c.public_id))
        )
        for table in Base.metadata.sorted_tables
        if "public_id" in table.c
    }


def routes(app: Flask, found: Ids) -> Iterator[Route]:
    """Each rule and method once for every row it can be about, at least once."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            for address in addresses(rule, found):
                yield Route(method, address, rule.endpoint, app.view_functions[rule.endpoint])


def addresses(rule: Rule, found: Ids) -> Iterator[str]:
    """The rule with its arguments filled in; of several each is met, not each with each."""
    choices = {name: _choices(rule, name, found) for name in rule.arguments}
    for number in range(max(map(len, choices.values()), default=1)):
        values = {
            name: next(itertools.islice(itertools.cycle(of), number, None)) for name, of in choices.items()
        }
        _, address = rule.build(values) or (None, None)
        assert address is not None, rule
        yield address


def _choices(rule: Rule, name: str, found: Ids) -> Sequence[UUID | str]:
    name = CALLED.get(name, name)
    if name in WORDS and name not in found:
        return [WORDS[name]]
    assert name in found, f"say in {__file__} what <{name}> of {rule.rule} can be"
    return found[name] or [NOBODY]
