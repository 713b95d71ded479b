"""Bring the catalogs in translations/ up to date with the texts in the code, and say what is left to do.

python docs/translations.py [CATALOG ...]     or: make translations

New texts come in untranslated, those that are gone go out, and a translation stays as long as the text it
is of does. Nothing is guessed: a text that was changed is a new one. What is untranslated then is taken
from the other catalogs named, of the languages that they say they are of.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import zxcvbn.feedback
from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_from_file
from babel.messages.pofile import read_po, write_po

from devflow.web.catalogs import OFFERED, SOURCE, path_of

ROOT: Final = Path(__file__).parent.parent
WIDTH: Final = 110
METHODS: Final = [("**.py", "python"), ("**.html", "jinja2")]
OPTIONS: Final = {"**.html": {"trimmed": "true", "silent": "false"}}
PAGES: Final = ("devflow/web", "templates")
# Of the core's errors those that a person can be told on a page. No catalog can know an f-string.
ERRORS: Final = dict.fromkeys(("Invalid", "NotFound", "phrase"), None)
CORE: Final = (
    "devflow/accounts",
    "devflow/groups.py",
    "devflow/names.py",
    "devflow/retention.py",
    "devflow/teams.py",
    "devflow/web/pages",
)
HELD: Final = re.compile(r"%\((\w+)\)")


def extracted() -> Catalog:
    """Every text that is looked up, with the files it is in."""
    found = Catalog(charset="utf-8")
    for place in PAGES:
        _add(found, place, DEFAULT_KEYWORDS)
    for place in CORE:
        _add(found, place, ERRORS)
    library = str(Path(zxcvbn.feedback.__file__))
    for _, text, _, _ in extract_from_file("python", library):
        found.add(text, locations=[("zxcvbn/feedback.py", 0)])
    return found


def _add(found: Catalog, place: str, keywords: Mapping[str, Any]) -> None:
    path = ROOT / place
    rows: list[tuple[Any, ...]]
    if path.is_file():
        rows = [(place, *row) for row in extract_from_file("python", path, keywords=keywords)]
    else:
        inside = extract_from_dir(path, METHODS, OPTIONS, keywords=keywords)
        rows = [(f"{place}/{name}", *row) for name, *row in inside]
    for name, _line, text, _comments, context in sorted(rows, key=lambda row: row[:2]):
        found.add(text, locations=[(name, 0)], context=context)


def read(language: str) -> Catalog:
    with path_of(language).open("rb") as text:
        return read_po(text, locale=language)


def merged(language: str) -> Catalog:
    """The language's catalog as the code wants it, with the translations there are."""
    catalog = read(language) if path_of(language).is_file() else Catalog(locale=language, charset="utf-8")
    catalog.update(extracted(), no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    return catalog


def borrow(catalog: Catalog, lender: Catalog) -> None:
    """Take what the catalog has no translation of."""
    for message in catalog:
        found = lender.get(message.id) if message.id else None
        if found is not None and found.id == message.id and not any(_forms(message.string)):
            message.string = found.string


def written(language: str, catalog: Catalog) -> str:
    """The catalog as its file: by file and not by line, so that only what was changed is in a diff."""
    text = BytesIO()
    # Babel's own head has the time of day, and other things that nobody reads.
    write_po(text, catalog, WIDTH, omit_header=True, sort_by_file=True, include_lineno=False)
    return _head(language, catalog) + text.getvalue().decode()


def _head(language: str, catalog: Catalog) -> str:
    """The comment that the file begins with, as it is, and what gettext has to know."""
    path = path_of(language)
    comment = path.read_text(encoding="utf-8").partition("msgid")[0] if path.is_file() else ""
    fields = {
        "Language": language,
        "Plural-Forms": catalog.plural_forms,
        "Content-Type": "text/plain; charset=utf-8",
    }
    lines = "".join(f'"{name}: {value}\\n"\n' for name, value in fields.items())
    return f'{comment}msgid ""\nmsgstr ""\n{lines}\n'


def flaws(catalog: Catalog) -> Iterator[str]:
    """What keeps the catalog from being whole, a line for each text."""
    for message in catalog:
        if message.id and (flaw := _flaw(message)) is not None:
            yield f"{flaw}: {message.id!r} ({message.locations[0][0] if message.locations else 'nowhere'})"


def _flaw(message: Message) -> str | None:
    ids, forms = _forms(message.id), _forms(message.string)
    if not all(forms):
        return "untranslated"
    if message.fuzzy:
        return "fuzzy"
    wanted = set(HELD.findall(ids[-1]))
    for form in forms:
        if wanted != set(HELD.findall(form)):
            return f"expected {sorted(wanted)} to be filled in"
    return None


def _forms(text: str | Sequence[str] | None) -> Sequence[str]:
    return [text or ""] if text is None or isinstance(text, str) else text


def main(*others: str) -> int:
    left = 0
    lenders = [read_po(Path(name).read_bytes().splitlines(keepends=True)) for name in others]
    for language in OFFERED:
        if language == SOURCE:
            continue
        catalog = merged(language)
        for lender in lenders:
            if str(lender.locale) == language:
                borrow(catalog, lender)
        path_of(language).parent.mkdir(parents=True, exist_ok=True)
        path_of(language).write_text(written(language, catalog), encoding="utf-8")
        found = list(flaws(catalog))
        left += len(found)
        print(*found, f"{language}: {len(catalog)} texts, {len(found)} to be done", sep="\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
