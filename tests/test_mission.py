"""The tables of promises name only tests and code that exist, and count themselves rightly."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PROMISES: Final = ("mission.md", "security.md", "asvs.md")
STATES: Final = ("met", "partly", "not met", "does not apply")
# OWASP ASVS 5.0.0: section:numbers of its requirements, by level.
REQUIREMENTS: Final = {
    1: "1.2:1-5 1.3:1-2 1.5:1 2.1:1 2.2:1-2 2.3:1 3.2:1-2 3.3:1 3.4:1-2 3.5:1-3 4.1:1 4.4:1 5.2:1-2 5.3:1-2 "
    "6.1:1 6.2:1-8 6.3:1-2 6.4:1-2 7.2:1-4 7.4:1-2 8.1:1 8.2:1-2 8.3:1 9.1:1-3 9.2:1 10.4:1-5 11.3:1-2 "
    "11.4:1 12.1:1 12.2:1-2 13.4:1 14.2:1 14.3:1 15.1:1 15.2:1 15.3:1",
    2: "1.1:1-2 1.2:6-9 1.3:3-11 1.4:1-3 1.5:2 2.1:2-3 2.2:3 2.3:2-4 2.4:1 3.3:2-4 3.4:3-6 3.5:4-5 3.7:1-2 "
    "4.1:2-3 4.2:1 4.3:1-2 4.4:2-4 5.1:1 5.2:3 5.4:1-3 6.1:2-3 6.2:9-12 6.3:3-4 6.4:3-4 6.5:1-5 6.6:1-3 "
    "6.8:1-4 7.1:1-3 7.3:1-2 7.4:3-5 7.5:1-2 7.6:1-2 8.1:2 8.2:3 8.4:1 9.2:2-4 10.1:1-2 10.2:1-2 10.3:1-4 "
    "10.4:6-11 10.5:1-5 10.6:1-2 10.7:1-3 11.1:1-2 11.2:1-3 11.3:3 11.4:2-4 11.5:1 11.6:1 12.1:2-3 12.3:1-4 "
    "13.1:1 13.2:1-5 13.3:1-2 13.4:2-5 14.1:1-2 14.2:2-4 14.3:2-3 15.1:2-3 15.2:2-3 15.3:2-7 16.1:1 16.2:1-5 "
    "16.3:1-4 16.4:1-3 16.5:1-3 17.1:1 17.2:1-4 17.3:1-2",
}
_QUOTED: Final = re.compile(r"`(?:(?P<file>[\w/]+\.py)::)?(?P<name>\w+)`")


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def tables(page: str) -> Iterator[list[str]]:
    """The cells of every row of every table, without those that say how columns stand."""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and not set(line) <= set("|-"):
            yield cells


@functools.cache
def defined(file: Path) -> frozenset[str]:
    """What stands in the module under a name of its own."""
    names = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.AnnAssign(target=ast.Name() as target):
                names.add(target.id)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(names)


def place(written: str) -> Path:
    """A file or folder as documents name it: below the repository, or below the server."""
    return next(
        (base / written for base in (ROOT, ROOT / "devflow") if (base / written).exists()), ROOT / "?"
    )


@pytest.mark.parametrize("name", PROMISES)
def test_every_test_that_a_document_names_exists(name: str) -> None:
    anywhere = frozenset[str]().union(*map(defined, (ROOT / "tests").rglob("test_*.py")))
    quoted = [each for each in _QUOTED.finditer(document(name)) if each["name"].startswith("test_")]
    missing = [
        each[0]
        for each in quoted
        if each["name"] not in (anywhere if each["file"] is None else defined(ROOT / each["file"]))
    ]
    assert len(quoted) >= 40
    assert missing == []


def test_what_a_document_says_is_set_somewhere_is_there() -> None:
    quoted = [each for each in _QUOTED.finditer(document("security.md")) if each["file"] is not None]
    assert [each[0] for each in quoted if each["name"] not in defined(place(each["file"]))] == []
    for written in re.findall(r"`([\w./]+(?:\.py|/))`", document("security.md")):
        assert place(written).exists(), written


def test_every_promise_of_security_names_where_it_is_kept_and_what_shows_it() -> None:
    promises = document("security.md").partition("## What is promised")[2].partition("\n## ")[0]
    rows = [row for row in tables(promises) if row != ["promise", "where", "shown by"]]
    assert len(rows) >= 60
    for _, where, shown in rows:
        assert where
        assert "`tests/" in shown or shown.startswith("no test; because "), shown


def test_every_requirement_of_asvs_is_judged_once_in_order_with_a_test_or_a_reason() -> None:
    judged = [row for row in tables(document("asvs.md")) if re.fullmatch(r"[\d.]+", row[0])]
    assert [(row[0], row[1]) for row in judged] == requirements()
    assert len(judged) == 253
    for number, _, matter, state, why in judged:
        assert 3 <= len(matter.split()) <= 12, number
        assert state in STATES, number
        reason = re.sub(r"`tests/[^`]+`", "", why).strip(" ,")
        shown = "`tests/" in why or "](" in why or why.startswith("no test")
        assert shown if state == "met" else len(reason.split()) >= 3, number


def requirements() -> list[tuple[str, str]]:
    """Each id with its level, in the standard's order."""
    found = []
    for level, sections in REQUIREMENTS.items():
        for section in sections.split():
            prefix, _, runs = section.partition(":")
            for run in runs.split(","):
                first, _, last = run.partition("-")
                found += [
                    (f"{prefix}.{number}", str(level)) for number in range(int(first), int(last or first) + 1)
                ]
    return sorted(found, key=lambda each: [int(part) for part in each[0].split(".")])


def test_asvs_counts_its_rows_rightly_and_names_at_the_top_what_is_not_met() -> None:
    page = document("asvs.md")
    rows = [row for row in tables(page) if re.fullmatch(r"[\d.]+", row[0])]
    told = {row[0]: row[1:] for row in tables(page) if len(row) == 4 and row[0] != "state"}
    for state in STATES:
        levels = Counter(row[1] for row in rows if row[3] == state)
        assert told[state] == [str(n) for n in (levels["1"], levels["2"], levels.total())], state
    levels = Counter(row[1] for row in rows)
    assert told["all"] == [str(n) for n in (levels["1"], levels["2"], levels.total())]
    summary = page.partition("Not met are:")[2].partition("What is met in part")[0]
    not_met = {row[0] for row in rows if row[3] == "not met"}
    assert set(re.findall(r"\d+\.\d+\.\d+", summary)) == not_met
    in_part = page.partition("What is met in part")[2].partition("\n## ")[0]
    assert set(re.findall(r"\d+\.\d+\.\d+", in_part)) <= {row[0] for row in rows if row[3] == "partly"}


def test_every_relative_link_in_the_documents_leads_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    for path in documents:
        for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?", path.read_text("utf-8")):
            found = path.parent / target if target else path
            assert found.exists(), f"{path.name}: {target}"
            assert not heading or heading in anchors(found), f"{path.name}: {target}#{heading}"


def anchors(path: Path) -> set[str]:
    """What can be linked to in a document: its headings, as GitHub writes them in addresses."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
