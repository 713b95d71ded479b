"""What of a page's subject is shown, by its address: one project, one type of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from devflow.errors import Invalid
from devflow.models import Project
from devflow.web.i18n import gettext
from devflow.web.pages import words
from devflow.wire import EventType

PROJECT: Final = "project"
TYPE: Final = "type"


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice on the page; ``options`` are values and texts, ``chosen`` is empty for all."""

    name: str
    label: str
    any: str
    options: list[tuple[str, str]]
    chosen: str


def project_id(query: Mapping[str, str]) -> UUID | None:
    """The project asked for, None for all; raise Invalid for what is no id."""
    given = query.get(PROJECT, "")
    try:
        return UUID(given) if given else None
    except ValueError:
        raise Invalid(f"expected {PROJECT} as the id of a project, got {given[:40]!r}") from None


def event_type(query: Mapping[str, str]) -> EventType | None:
    """The type asked for, None for all; raise Invalid for one that there is not."""
    given = query.get(TYPE, "")
    try:
        return EventType(given) if given else None
    except ValueError:
        names = ", ".join(EventType)
        raise Invalid(f"expected {TYPE} as one of {names}, got {given[:40]!r}") from None


def of_projects(projects: Iterable[Project], chosen: UUID | None) -> Filter:
    options = [(str(project.public_id), project.name) for project in projects]
    return Filter(PROJECT, gettext("Project"), gettext("All projects"), options, str(chosen or ""))


def of_types(chosen: EventType | None) -> Filter:
    options = [(str(kind), words.event_type(kind)) for kind in EventType]
    return Filter(TYPE, gettext("Type"), gettext("All types"), options, str(chosen or ""))
