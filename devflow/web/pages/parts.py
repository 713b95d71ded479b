"""The tables of what a project's range is made of: people, files, branches, kinds of events, languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from devflow import languages
from devflow.activity import FEW, NOTHING, Cut, HotFile, Numbers, ProjectActivity, Ref, Seen, sums
from devflow.export import TYPE_OF
from devflow.rollups import NOBODY
from devflow.rollups.slices import NO_FILE, NOT_KEPT, SEVERAL
from devflow.web.i18n import gettext
from devflow.web.pages import bp, words
from devflow.web.tables import Table


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A person with a page, everybody whom the viewer may not see, or what nobody known here did."""

    name: str
    numbers: Numbers
    public_id: UUID | None = None


def people_rows(shown: ProjectActivity, named: Sequence[Seen]) -> list[PersonRow]:
    """Whoever did most first; members also without a part in the range. Then the others, then nobody."""
    parts = dict(shown.people)
    nobody = parts.pop(NOBODY, None)
    rows = [
        PersonRow(each.name, parts.pop(each.id, NOTHING), each.public_id)
        for each in named
        if each.is_member or each.id in parts
    ]
    rows.sort(key=lambda row: (-(row.numbers.active_s or 0), row.name))
    if parts:
        others = sums.united(part for part in shown.parts if part.person_id in parts)
        rows.append(PersonRow(gettext("others"), others))
    if nobody is not None:
        rows.append(PersonRow(gettext("nobody known here"), nobody))
    return rows


@bp.app_template_filter("type_name")
def type_name(cut: Cut) -> str:
    return _unnamed(cut) or words.event_type(TYPE_OF[cut.value])


@bp.app_template_filter("language_name")
def language_name(cut: Cut) -> str:
    return _unnamed(cut) or languages.NAME[cut.value]


def _unnamed(cut: Cut) -> str:
    """What stands in the place of a name, if there is none."""
    unnamed = {
        FEW: gettext("of fewer than three people"),
        NO_FILE: gettext("about no file"),
        NOT_KEPT: gettext("deleted by age before it was told apart"),
        SEVERAL: gettext("of several languages"),
    }
    return unnamed.get(cut.value, "")


PEOPLE: Final = Table[PersonRow](
    "people",
    {
        "person": lambda row: row.name,
        "commits": lambda row: row.numbers.commits,
        "insertions": lambda row: row.numbers.insertions,
        "deletions": lambda row: row.numbers.deletions,
        "files": lambda row: row.numbers.files_changed,
        "active_s": lambda row: row.numbers.active_s,
        "events": lambda row: row.numbers.events,
    },
)
FILES: Final = Table[HotFile](
    "files",
    {
        "file": lambda row: None if row.path is None else words.file_name(row.path),
        "periods": lambda row: row.periods,
        "people": lambda row: row.people,
    },
)
REFS: Final = Table[Ref](
    "refs",
    {
        "day": lambda row: row.day.isoformat(),
        "kind": lambda row: str(row.kind),
        "name": lambda row: None if row.name is None else words.ref_name(row.name, row.kind),
        "times": lambda row: row.times,
    },
)
CUTS: Final = Table[Cut](
    "types",
    {
        "type": lambda row: type_name(row),
        "events": lambda row: row.events,
        "active_s": lambda row: row.active_s,
    },
)
LANGUAGES: Final = Table[Cut](
    "languages",
    {
        "language": lambda row: language_name(row),
        "events": lambda row: row.events,
        "insertions": lambda row: row.insertions,
        "deletions": lambda row: row.deletions,
        "active_s": lambda row: row.active_s,
    },
)
