"""One project over a range of days: its numbers, how they moved, who and what they are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import request
from flask.typing import ResponseReturnValue

from devflow import access, activity, retention, windows
from devflow.access import Action
from devflow.accounts import people
from devflow.activity import ProjectActivity, Seen
from devflow.errors import Invalid
from devflow.live import Watched
from devflow.models import Person, Project
from devflow.rollups import NOBODY
from devflow.web import addresses, charts, guard, live
from devflow.web.current import calendar, context, now, session
from devflow.web.i18n import gettext
from devflow.web.pages import bars, bp, labels, looks, ranges, words
from devflow.web.pages.parts import CUTS, FILES, LANGUAGES, PEOPLE, REFS, PersonRow, people_rows
from devflow.web.session import viewer
from devflow.wire import EventType

DETAILS: Final = ("people", "hours", "files", "refs", "types", "languages")
TABLES: Final = (PEOPLE, FILES, REFS, CUTS, LANGUAGES)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The person whose part is drawn apart; ``whose`` says in words whose it is, ``is_own`` the viewer's."""

    id: int
    public_id: str
    whose: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What decides what is shown, besides the range; ``named`` are those told apart."""

    project_id: int
    kind: EventType | None
    chosen: Chosen | None
    named: tuple[Seen, ...]


@bp.get("/projects/<uuid:project_id>")
@guard.needs(Action.VIEW_PROJECT)
def project(project: Project) -> ResponseReturnValue:
    today = windows.day_of(now(), calendar().zone)
    chosen_range = ranges.parse(request.args, today)
    seen = activity.in_project(session(), viewer(), project)
    look, is_of_another = _look(project, seen)
    days = activity.reach(session(), project, calendar().zone)
    first = chosen_range.first or (days[0] if days else today)
    if look.kind is not None:
        activity.check_days(first, chosen_range.last)
    looks.leave(look.named, min(first, chosen_range.last), chosen_range.last, "project")
    order = " ".join(f"{table.name}:{table.order()}" for table in TABLES)
    span = chosen_range.name or f"{chosen_range.first}..{chosen_range.last}"
    drawing = Drawing(look)
    return live.page(
        "project/page.html",
        key=(look.project_id, look.kind, look.chosen, look.named, span, order),
        watched=Watched.of([project], (), now()),
        panels=lambda: Drawing(look).panels(),
        exports={table.name: functools.partial(drawing.export, table) for table in TABLES},
        is_live=not is_of_another,
        project=project,
        email=people.shown_email(context().vault, viewer()) or gettext("YOUR-ADDRESS"),
        chosen=chosen_range,
        first=first,
        has_history=days is not None,
        person=look.chosen.public_id if look.chosen else "",
        choices=_choices(seen),
        kind=look.kind,
        kinds=[(kind, words.event_type(kind)) for kind in EventType],
        may_send=access.may_on(session(), viewer(), Action.SEND_EVENTS, project),
        taken_from=retention.taken_from(session(), now()),
        may_keep_longer=access.may(viewer(), Action.MANAGE_RETENTION),
    )


def _look(project: Project, seen: list[Seen]) -> tuple[Look, bool]:
    """What the address asks for, and whether it is another person's part.

    Raise Invalid for what is no choice, NotFound for a person whom the viewer may not see.
    """
    person_id = addresses.public_id("person")
    person = None
    if person_id is not None:
        person = access.fetch(session(), viewer(), Action.VIEW_PERSON, Person, person_id)
    is_of_another = person is not None and person.id != viewer().id
    # Who may see nobody else by name shares the page with all who may not.
    named = tuple(seen) if any(each.id != viewer().id for each in seen) else ()
    if person is not None and is_of_another and person.id not in {each.id for each in named}:
        named = (*named, Seen(person.id, person.public_id, person.name, False))
    chosen = None
    if person is not None:
        whose = person.name if is_of_another else gettext("yours")
        chosen = Chosen(person.id, str(person.public_id), whose, is_own=not is_of_another)
    kind = _kind()
    if kind is not None and is_of_another:
        raise Invalid("expected type without person: what kinds of events another person made is not told")
    return Look(project.id, kind, chosen, named), is_of_another


def _kind() -> EventType | None:
    given = request.args.get("type", "")
    if given and given not in {str(kind) for kind in EventType}:
        raise Invalid(f"expected type to be one of {', '.join(EventType)}, got {given[:40]!r}")
    return EventType(given) if given else None


def _choices(seen: list[Seen]) -> list[tuple[str, str]]:
    """Oneself, and then by name those who may be looked at."""
    own = [(str(each.public_id), gettext("me")) for each in seen if each.id == viewer().id]
    return own + [(str(each.public_id), each.name) for each in seen if each.id != viewer().id]


class Drawing:
    """One drawing of the page's panels, for whoever looks: what several of them need is read once."""

    def __init__(self, look: Look) -> None:
        self.look = look

    def panels(self) -> live.Draw:
        draw: dict[str, Callable[[], Mapping[str, Any]]] = {
            "heading": lambda: {"project": self.project},
            "days": self._plain,
            "fresh": self._plain,
            "figures": self._plain,
            "charts": lambda: {**self._plain(), "charts": bars.of(self.shown, self._part())},
        }
        if self.look.kind is not None:  # of which no more than its totals is told
            return draw | dict.fromkeys(DETAILS, self._plain)
        return draw | {
            "people": lambda: {
                **self._plain(),
                "rows": PEOPLE.sorted(self.people(), PEOPLE.order()),
                "table": PEOPLE,
                "order": PEOPLE.order(),
                "known": sum(person_id != NOBODY for person_id in self.shown.people),
                "is_named": bool(self.look.named),
            },
            "hours": lambda: {**self._plain(), **self._hours()},
            "files": lambda: {
                **self._plain(),
                "is_own": self._own_id() is not None,
                **self._table(FILES, self.files()),
            },
            "refs": lambda: {
                **self._plain(),
                "hidden": self.refs.hidden,
                **self._table(REFS, self.refs.rows),
            },
            "types": lambda: {**self._plain(), "cuts": self.cuts, **self._table(CUTS, self.cuts.types)},
            "languages": lambda: {
                **self._plain(),
                "cuts": self.cuts,
                **self._table(LANGUAGES, self.cuts.languages),
            },
        }

    def export(self, table: Any) -> Any:
        rows: dict[str, Callable[[], Any]] = {
            PEOPLE.name: self.people,
            FILES.name: self.files,
            REFS.name: lambda: self.refs.rows,
            CUTS.name: lambda: self.cuts.types,
            LANGUAGES.name: lambda: self.cuts.languages,
        }
        return table.csv(table.sorted(rows[table.name](), table.order()))

    @functools.cached_property
    def project(self) -> Project:
        return session().get_one(Project, self.look.project_id)

    @functools.cached_property
    def range(self) -> ranges.Range:
        return ranges.parse(request.args, windows.day_of(now(), calendar().zone))

    @functools.cached_property
    def shown(self) -> ProjectActivity:
        chosen = None if self.look.chosen is None else self.look.chosen.id
        return activity.project(
            session(),
            self.project,
            chosen,
            self.range.first,
            self.range.last,
            calendar().zone,
            self.look.kind,
        )

    @functools.cached_property
    def cuts(self) -> activity.Cuts:
        first, last = self.shown.first, self.shown.last
        return activity.cuts(
            session(), self.project, first, last, context().cache, context().server(calendar())
        )

    @functools.cached_property
    def refs(self) -> activity.Refs:
        first, last, zone = self.shown.first, self.shown.last, calendar().zone
        return activity.refs(session(), context().vault, self.project, first, last, zone)

    def people(self) -> list[PersonRow]:
        return people_rows(self.shown, self.look.named)

    def files(self) -> list[activity.HotFile]:
        spans = [(period.first, period.last) for period in self.shown.periods]
        parts, zone, own = self.shown.parts, calendar().zone, self._own_id()
        return activity.hot_files(session(), context().vault, parts, spans, zone, of_person=own)

    def _plain(self) -> dict[str, Any]:
        shown = self.shown
        # The period that is not over yet ends, as far as anybody knows, today.
        last = min(shown.last, max(windows.day_of(now(), calendar().zone), self.range.last))
        is_widened = self.range.first is not None and (shown.first, last) != (
            self.range.first,
            self.range.last,
        )
        return {
            "shown": shown,
            "last": last,
            "chosen": self.range,
            "latest": ranges.up_to(shown.last_day),
            "is_widened": is_widened,
            "kind": self.look.kind,
            "is_detailed": not self.look.kind and not shown.total.is_empty,
            "whose": self.look.chosen.whose if self.look.chosen else "",
        }

    def _own_id(self) -> int | None:
        """The viewer's id if their own part is chosen; then nobody else shares this drawing."""
        return self.look.chosen.id if self.look.chosen and self.look.chosen.is_own else None

    def _part(self) -> str | None:
        return self.look.chosen.whose if self.look.chosen else None

    def _hours(self) -> dict[str, Any]:
        found = activity.hours(
            session(),
            self.project,
            self.shown.first,
            self.shown.last,
            context().cache,
            context().server(calendar()),
        )
        seconds = found.seconds
        heat = charts.heat(seconds, lambda day, hour: labels.hour(day, hour, seconds[day][hour]))
        return {"hours": found, "heat": heat}

    def _table(self, table: Any, rows: Any) -> dict[str, Any]:
        return {"rows": table.sorted(rows, table.order()), "table": table, "order": table.order()}
