"""One number of a project by windows, by people or by slices, as far as the one who asks may see it.

Totals are of all, for everybody who may see the project; people are told apart only where ``access``
lets the viewer see them, and all others are one row. By hours a total would be a clock of somebody's
day where only one other person worked: such days are left out. By event types and languages it would
say what that person did: such slices are one row.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import UNSET
from msgspec.structs import replace
from pyroaring import BitMap
from sqlalchemy import exists
from sqlalchemy.orm import Session

from devflow import languages, windows
from devflow.access import Action, visible
from devflow.errors import Invalid
from devflow.metrics import ranges, series
from devflow.metrics.answers import (
    NOBODY,
    OTHERS,
    Aggregate,
    AskAggregate,
    Freshness,
    Reason,
    Row,
    Total,
    Unknown,
)
from devflow.metrics.ranges import Range
from devflow.metrics.series import Part, Question, Series
from devflow.models import Person, Project, ProjectMember
from devflow.rollups import NOBODY as NOBODYS_ID
from devflow.rollups import TYPE_NUMBER
from devflow.rollups.slices import NO_FILE, NOT_KEPT, SEVERAL
from devflow.windows import SECOND_MS, Grain, Window

_TYPE_NAME: Final = {number: str(kind) for kind, number in TYPE_NUMBER.items()}
_UNKNOWN: Final[dict[int, Unknown]] = {
    NO_FILE: "no_file",
    NOT_KEPT: "not_kept",
    SEVERAL: "several_languages",
}
_NAMELESS: Final = "?"
"""Begins the place of a row that has no name."""

Count = Callable[[Question], Series]


@dataclass(frozen=True, slots=True)
class Seen:
    """A person whose numbers the viewer may see."""

    id: int
    public_id: UUID
    name: str
    is_member: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, made explicit: nothing in it moves with time.

    ``begun`` is where what has begun ends, for windows that are to come.
    """

    by: AskAggregate
    project: Project
    question: Question
    range: Range
    after: str | None
    begun: int

    def parts(self) -> tuple[object, ...]:
        """All of it that decides the answer, beside who asks and what is counted."""
        shown = self.range.shown
        return (
            self.by.metric_type,
            self.by.group_by,
            self.by.limit,
            shown.start_ms,
            shown.end_ms,
            self.after,
            self.begun,
        )


def read(by: AskAggregate, project: Project, now_ms: int, zone: ZoneInfo) -> Asked:
    """Raise Invalid for a range or a cursor that is none."""
    if by.cursor:
        span, after = ranges.resume(by.cursor, by.group_by, zone)
    else:
        span, after = ranges.resolve(by.time_range, by.group_by, now_ms, zone), None
    covered = ranges.covered(by.group_by, span, zone)
    whole = Window(min(each.start_ms for _, each in covered), max(each.end_ms for _, each in covered))
    question = Question(
        project.id,
        by.metric_type,
        by.group_by,
        covered,
        whole,
        span.shown if by.group_by == "hour" else whole,
    )
    grain = Grain(by.group_by) if by.group_by in ranges.BY_TIME else Grain.DAY
    begun = min(windows.window(grain, now_ms, zone).end_ms, question.counted.end_ms)
    return Asked(by, project, question, span, after, begun)


def seen(session: Session, viewer: Person, project: Project) -> list[Seen]:
    """Whose numbers the viewer may see, in the project or not; the own ones too."""
    is_member = exists().where(ProjectMember.project_id == project.id, ProjectMember.person_id == Person.id)
    columns = (Person.id, Person.public_id, Person.name, is_member.label("is_member"))
    rows = session.execute(
        visible(viewer, Action.VIEW_PERSON, Person).with_only_columns(*columns).order_by(Person.id)
    )
    return [Seen(row.id, row.public_id, row.name, bool(row.is_member)) for row in rows]


def answer(
    asked: Asked, counted: Series, viewer: Person, people: Sequence[Seen], zone: ZoneInfo
) -> Aggregate:
    """The page asked for; ``people`` are those the viewer may see, and needed only to group by them."""
    if asked.by.group_by in ranges.BY_TIME:
        rows, total = _windows(asked, counted, viewer, zone)
    elif asked.by.group_by == "person":
        rows, total = _people(asked, counted, people), _total(asked, counted)
    else:
        rows, total = _slices(asked, counted, viewer), _total(asked, counted)
    page, following = _page(asked, rows)
    return Aggregate(
        project_id=asked.project.public_id,
        metric_type=asked.by.metric_type,
        group_by=asked.by.group_by,
        start=asked.question.counted.start_ms,
        end=asked.question.counted.end_ms,
        timezone=zone.key,
        version=asked.project.generation,
        freshness=Freshness(is_fresh=not counted.pending, pending_days=len(counted.pending)),
        overlapping=_overlaps(asked.by),
        total=total,
        rows=[row for _, row in page],
        next=following,
    )


Placed = tuple[str, Row]
"""A row and its place: what a cursor names, in the order of rows."""


def _windows(asked: Asked, counted: Series, viewer: Person, zone: ZoneInfo) -> tuple[list[Placed], Total]:
    grain, shown = Grain(asked.by.group_by), asked.question.counted
    parts = {part.key: part for part in counted.parts}
    spans = ranges.spans(grain, asked.range.first, asked.range.last, zone)
    hidden = _of_one_other(spans, parts, viewer, zone) if grain == Grain.HOUR else frozenset()
    rows = [
        (str(span.start_ms), _window(asked, counted, parts.get(span.start_ms), grain, span, zone, hidden))
        for span in spans
        if shown.start_ms <= span.start_ms < shown.end_ms
    ]
    if any(row.reason == "one_person" for _, row in rows):
        return rows, Total(value=None, reason="one_person")
    return rows, _total(asked, counted)


def _of_one_other(
    hours: Sequence[Window], parts: dict[int, Part], viewer: Person, zone: ZoneInfo
) -> frozenset[int]:
    """The hours, by start, of days on which exactly one person beside the viewer worked."""
    found: set[int] = set()
    for _, day in groupby((hour.start_ms for hour in hours), lambda at: windows.day_of(at, zone)):
        starts = list(day)
        people = {person for at in starts if at in parts for person in parts[at].people}
        if len(people - {viewer.id}) == 1:
            found.update(starts)
    return frozenset(found)


def _window(
    asked: Asked,
    counted: Series,
    part: Part | None,
    grain: Grain,
    span: Window,
    zone: ZoneInfo,
    hidden: frozenset[int],
) -> Row:
    is_pending = bisect_left(counted.pending, span.start_ms) < bisect_left(counted.pending, span.end_ms)
    value, reason = _value(asked, part, is_pending=is_pending, is_ahead=span.start_ms >= asked.begun)
    if span.start_ms in hidden:
        value, reason = None, "one_person"
    return Row(
        group=windows.label(grain, span.start_ms, zone),
        start=span.start_ms,
        end=span.end_ms,
        value=value,
        reason=reason or UNSET,
        is_pending=is_pending,
    )


def _people(asked: Asked, counted: Series, people: Sequence[Seen]) -> list[Placed]:
    """Those the viewer may see, members also without a part in it; all others as one; and nobody."""
    parts = {part.key: part for part in counted.parts}
    nobody, rows = parts.pop(NOBODYS_ID, None), list[Placed]()
    for person in sorted(people, key=lambda each: str(each.public_id)):
        part = parts.pop(person.id, None)
        if part is not None or person.is_member:
            rows.append(_row(asked, counted, part, str(person.public_id), person.name))
    if parts:
        rows.append(_row(asked, counted, _together(parts.values()), OTHERS))
    if nobody is not None:
        rows.append(_row(asked, counted, nobody, NOBODY))
    return rows


def _slices(asked: Asked, counted: Series, viewer: Person) -> list[Placed]:
    """By name; then what has none. Slices in which one other person worked alone are one row."""
    told = [part for part in counted.parts if not _is_of_one_other(part, viewer)]
    alone = [part for part in counted.parts if _is_of_one_other(part, viewer)]
    rows = [_slice(asked, counted, part) for part in told]
    if alone:
        rows.append(_unnamed(asked, counted, _together(alone), "one_person"))
    return sorted(
        (each for each in rows if each[1].group is not None or each[1].value != 0),
        key=lambda each: _by_name(each[0]),
    )


def _is_of_one_other(part: Part, viewer: Person) -> bool:
    return len(set(part.people) - {viewer.id}) == 1


def _slice(asked: Asked, counted: Series, part: Part) -> Placed:
    if (unknown := _UNKNOWN.get(part.key)) is not None:
        return _unnamed(asked, counted, part, unknown)
    names = _TYPE_NAME if asked.by.group_by == "type" else languages.NAME
    return _row(asked, counted, part, names[part.key])


def _unnamed(asked: Asked, counted: Series, part: Part, unknown: Unknown) -> Placed:
    _, row = _row(asked, counted, part, "")
    return _NAMELESS + unknown, replace(row, group=None, unknown=unknown)


def _overlaps(by: AskAggregate) -> bool:
    """Whether an event, or a file, can stand in several rows."""
    if by.group_by == "language":
        return by.metric_type in ("events_count", "commits")
    return by.metric_type == "files_changed"


def _together(parts: Iterable[Part]) -> Part:
    """People as one. Files of several are counted once; all else adds up."""
    found, files = list(parts), BitMap()
    for part in found:
        if part.files:
            files |= BitMap.deserialize(part.files)
    return Part(0, len(files) or sum(part.amount or 0 for part in found))


def _row(asked: Asked, counted: Series, part: Part | None, group: str, name: str | None = None) -> Placed:
    is_ahead = asked.question.counted.start_ms >= asked.begun
    value, reason = _value(asked, part, is_pending=bool(counted.pending), is_ahead=is_ahead)
    row = Row(
        group=group,
        name=name if name is not None else UNSET,
        value=value,
        reason=reason or UNSET,
        is_pending=bool(counted.pending),
    )
    return group, row


def _total(asked: Asked, counted: Series) -> Total:
    # Of days that are not told apart yet there is a total, and no part.
    part = Part(0, counted.total) if counted.parts or counted.total is not None else None
    is_ahead = asked.question.counted.start_ms >= asked.begun
    value, reason = _value(asked, part, is_pending=bool(counted.pending), is_ahead=is_ahead)
    return Total(value=value, reason=reason or UNSET)


def _value(
    asked: Asked, part: Part | None, *, is_pending: bool, is_ahead: bool
) -> tuple[int | None, Reason | None]:
    """What is told of a group, or why nothing is. Nothing counted where all is counted is 0."""
    if part is None:
        if is_pending:
            return None, "being_counted"
        return (None, "not_yet") if is_ahead else (0, None)
    if part.amount is None:
        return None, "people_not_here"
    return part.amount // (SECOND_MS if asked.by.metric_type == series.ACTIVE_TIME else 1), None


def _page(asked: Asked, rows: Sequence[Placed]) -> tuple[Sequence[Placed], str | None]:
    """The rows after the one that the cursor names, and the cursor of the page that follows."""
    start = 0
    if asked.after is not None:
        start = _place_after(asked, rows, asked.after)
    end = start + asked.by.limit
    page = rows[start:end]
    if end >= len(rows):
        return page, None
    return page, ranges.cursor(asked.range.shown, page[-1][0])


def _place_after(asked: Asked, rows: Sequence[Placed], after: str) -> int:
    """Where to go on; the row itself may be gone since."""
    order = _by_time if asked.by.group_by in ranges.BY_TIME else _by_person
    if asked.by.group_by in series.SLICED:
        order = _by_name
    return bisect_right([order(place) for place, _ in rows], order(after))


def _by_time(place: str) -> tuple[int, str]:
    try:
        return int(place), ""
    except ValueError as error:
        raise Invalid("expected a cursor of windows, got one of people") from error


def _by_person(place: str) -> tuple[int, str]:
    """By id, then the others, then nobody."""
    return (OTHERS, NOBODY).index(place) + 1 if place in (OTHERS, NOBODY) else 0, place


def _by_name(place: str) -> tuple[int, str]:
    """By name, then those without."""
    return int(place.startswith(_NAMELESS)), place
