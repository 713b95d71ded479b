"""The words of other languages: catalogs of gettext, read from their text when first somebody asks for one.

No compiled catalog is kept: to compile one takes some hundredths of a second, once a process and language,
and what is reviewed is then what is run.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

OFFERED: Final = {"en": "English", "ko": "한국어"}
"""The languages of pages by what they call themselves; the first is what the code is written in."""
SOURCE: Final = next(iter(OFFERED))
FOLDER: Final = Path(__file__).parent.parent.parent / "translations"


def path_of(language: str) -> Path:
    return FOLDER / language / "LC_MESSAGES" / "messages.po"


@functools.cache
def translations(language: str) -> NullTranslations:
    if language == SOURCE:
        return NullTranslations()
    with path_of(language).open("rb") as text:
        catalog = read_po(text, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)
