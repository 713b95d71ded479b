"""What programs ask for numbers, and what they are answered: the types behind ``/metrics`` and its like.

Not in ``wire``: agents know nothing of them. A number that is not known is null, and ``reason``
says why; 0 is always a count.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

MOST_ROWS: Final = 1_000
# For Python "$" is also before a last line end, for JSON Schema it is not; this is the end for both.
_END: Final = r"$(?!\n)"
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"

MetricType: TypeAlias = Literal[
    "events_count", "active_time", "files_changed", "commits", "insertions", "deletions"
]
GroupBy: TypeAlias = Literal["hour", "day", "week", "month", "person", "type", "language"]
Form: TypeAlias = Literal["json", "csv"]
Date = Annotated[str, Meta(pattern=f"^{_DATE}{_END}")]
TimeRange = Annotated[str, Meta(pattern=rf"^(24h|7d|30d|90d|1y|{_DATE}\.\.{_DATE}){_END}")]
Cursor = Annotated[str, Meta(pattern=f"^[A-Za-z0-9_-]{{0,200}}{_END}")]

Reason: TypeAlias = Literal["being_counted", "not_derived", "not_yet", "one_person", "people_not_here"]
"""Why a number is not known: its day is yet to be derived from what came in; the server does not derive
it at all; the window has not begun; it is finer than a day, and of one other person alone; the
work is of people who do not report to this server, so how long it took nobody knows."""

Unknown: TypeAlias = Literal["no_file", "not_kept", "one_person", "several_languages"]
"""Why a row has no type or language: its events are about no file; retention deleted them before anybody
told them apart; in each of several types or languages one other person worked alone, and these are added
up; or it is the time and the lines of events about files of several languages, which nobody could divide."""

OTHERS: Final = "others"
"""Stands where a person would: the people, known here, whom the viewer may not see, added up."""
NOBODY: Final = "nobody"
"""Stands where a person would: what nobody known to this server did."""


class AskStatus(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Form | None = None


class AskActivity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days of the workspace's calendar, both included; ``people`` is whether to name people too."""

    since: Date | None = None
    until: Date | None = None
    people: bool = True
    format: Form | None = None


class AskAggregate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    project_id: UUID
    metric_type: MetricType
    group_by: GroupBy = "day"
    time_range: TimeRange = "30d"
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = 500
    cursor: Cursor = ""
    format: Form | None = None


class Freshness(Struct, frozen=True, kw_only=True, rename="camel"):
    """``pendingDays`` of the range took something in that days, weeks and months do not show yet."""

    is_fresh: bool
    pending_days: int


class Total(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of the whole range, not of the page."""

    value: int | None
    reason: Reason | UnsetType = UNSET


class Row(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One window, one person, one event type, or one language of files.

    ``group`` is the window by name (2026-11-19T15:00+01:00, 2026-11-19, 2026-W47, 2026-11), with its
    ``start`` and ``end``; or the person's id, with the ``name``; or ``others``, or ``nobody``; or the type or
    the language, null where there is none: ``unknown`` says why.
    """

    group: str | None
    unknown: Unknown | UnsetType = UNSET
    name: str | UnsetType = UNSET
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET
    value: int | None
    reason: Reason | UnsetType = UNSET
    is_pending: bool = False


class Aggregate(Struct, frozen=True, kw_only=True, rename="camel"):
    """A number of one project by windows, by people, by event types or by languages of files.

    Windows are whole, so ``start`` to ``end`` can be wider than what was asked for. ``active_time`` is in
    seconds. ``version`` moves whenever a number of the project may have changed. Where ``overlapping``,
    an event or a file can stand in several rows, which then add up to more than the ``total``. ``next`` is
    the ``cursor`` of the next page, null on the last one.
    """

    project_id: UUID
    metric_type: MetricType
    group_by: GroupBy
    start: int
    end: int
    timezone: str
    version: int
    freshness: Freshness
    overlapping: bool
    total: Total
    rows: list[Row]
    next: str | None


class Numbers(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """All numbers of one window, or of one person in a range; ``group`` is as in Row.

    ``people`` is how many people, known here, have a part in it.
    """

    group: str
    name: str | UnsetType = UNSET
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET
    people: int | None
    events_count: int | None
    active_time: int | None
    files_changed: int | None
    commits: int | None
    insertions: int | None
    deletions: int | None
    reason: Reason | UnsetType = UNSET
    is_pending: bool = False


class Sync(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the PCs of the project's members report, any project counted: PCs that are not revoked, those
    that sent something within a day, and those whose clock is off.

    ``state`` is ``never`` if none has sent anything yet, ``silent`` if none has within a day, else ``ok``.
    """

    state: Literal["ok", "silent", "never"]
    devices: int
    heard_within_a_day: int
    clocks_off: int


class Stage(Struct, frozen=True, kw_only=True, rename="camel"):
    value: str | None
    reason: Reason | UnsetType = UNSET


class Status(Struct, frozen=True, kw_only=True, rename="camel"):
    """A project in the hour, the day and the week under way."""

    project_id: UUID
    name: str
    timezone: str
    version: int
    freshness: Freshness
    stage: Stage
    now: Numbers
    today: Numbers
    week: Numbers
    sync: Sync


class TeamActivity(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a team's members did in the projects that the viewer may see, by day.

    ``people`` is null unless asked for: those whom the viewer may see, and all others as one.
    """

    team_id: UUID
    name: str
    timezone: str
    start: int
    end: int
    freshness: Freshness
    total: Numbers
    days: list[Numbers]
    people: list[Numbers] | None
