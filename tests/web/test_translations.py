"""The catalogs hold every text that people read, and people read no text that is not in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from babel.messages import Catalog
from bs4 import BeautifulSoup, Comment, Tag
from jinja2 import Environment

from devflow.web.catalogs import OFFERED, SOURCE, path_of, translations
from docs import translations as tool

OTHERS: Final = [language for language in OFFERED if language != SOURCE]
TEMPLATES: Final = Path(__file__).parents[2] / "templates"
SAID: Final = ("alt", "aria-label", "placeholder", "title")
NAMES: Final = {"DevFlow", "Monitor"}
"""What is called the same in every language."""


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalog_is_whole_and_in_step_with_the_code(language: str) -> None:
    merged = tool.merged(language)
    assert list(tool.flaws(merged)) == [], "run `make translations`, and translate what it names"
    stands = path_of(language).read_text(encoding="utf-8")
    assert tool.written(language, merged) == stands, "run `make translations`"


def test_what_is_wrong_with_a_translation_is_named() -> None:
    catalog = Catalog(locale="ko")
    catalog.add("untouched")
    catalog.add("guessed", "짐작", flags=["fuzzy"])
    catalog.add("%(n)s left", "남음")
    catalog.add(("%(n)s day", "%(n)s days"), ("%(m)s일",))
    catalog.add("good %(name)s", "좋은 %(name)s")
    said = [flaw.partition(":")[0] for flaw in tool.flaws(catalog)]
    assert said == [
        "untranslated",
        "fuzzy",
        "expected ['n'] to be filled in",
        "expected ['n'] to be filled in",
    ]


def test_a_text_that_is_gone_goes_and_a_new_one_comes_in_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "messages.po"
    old.write_text(
        '# kept\nmsgid ""\nmsgstr "Language: ko\\n"\n\nmsgid "no such text"\nmsgstr "x"\n\n'
        'msgid "Sign out"\nmsgstr "나가기"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(tool, "path_of", lambda _language: old)
    merged = tool.merged("ko")
    stands = tool.written("ko", merged)
    assert stands.startswith("# kept\nmsgid")
    assert "no such text" not in stands
    assert 'msgid "Sign out"\nmsgstr "나가기"' in stands
    assert any(flaw.startswith("untranslated: 'Sign in'") for flaw in tool.flaws(merged))


def test_errors_of_the_core_that_pages_show_are_among_the_texts() -> None:
    texts = {message.id for message in tool.extracted()}
    assert "expected a name of 1 to %(most)s characters, got %(n)s" in texts
    assert "Use a few words, avoid common phrases." in texts, "what the judge of passwords says"


def test_a_catalog_is_read_once_and_the_language_of_the_code_needs_none() -> None:
    assert translations("ko") is translations("ko")
    assert translations("ko").ngettext("%(n)s commit", "%(n)s commits", 1) == "커밋 %(n)s개"
    assert translations("en").gettext("Sign out") == "Sign out"


@pytest.mark.parametrize(
    "template", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_template_has_no_text_of_its_own(template: Path) -> None:
    assert list(own_words(template.read_text(encoding="utf-8"))) == []


def test_text_of_its_own_is_found() -> None:
    bare = '<p title="A title">Hello {{ name }}<code>git log</code> {{ _("fine") }} &middot; 12</p>'
    assert list(own_words(bare)) == ["A title", "Hello"]


def own_words(source: str) -> Iterator[str]:
    """The letters that the template itself puts before people."""
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    written = "".join(text for _, kind, text in environment.lex(source) if kind == "data")
    page = BeautifulSoup(written, "html.parser")
    for element in page.find_all(True):
        yield from _worded(str(element.get(name, "")) for name in SAID)
    for text in page.find_all(string=True):
        is_code = any(
            isinstance(each, Tag) and each.name in ("code", "script", "style") for each in text.parents
        )
        if not is_code and not isinstance(text, Comment) and text.strip() != "html":
            yield from _worded([str(text)])


def _worded(texts: Iterator[str] | list[str]) -> Iterator[str]:
    for text in texts:
        if {*re.findall(r"[^\W\d_]+", text)} - NAMES:
            yield " ".join(text.split())


def test_a_catalog_lends_what_another_lacks_and_changes_nothing_else() -> None:
    catalog, lender = Catalog(locale="ko"), Catalog(locale="ko")
    catalog.add("kept", "그대로")
    catalog.add("new")
    catalog.add(("%(n)s day", "%(n)s days"))
    lender.add("kept", "다르게")
    lender.add("new", "새것")
    lender.add(("%(n)s day", "%(n)s days"), ("%(n)s일",))
    lender.add("elsewhere", "다른 곳")
    tool.borrow(catalog, lender)
    assert {message.id: message.string for message in catalog if message.id} == {
        "kept": "그대로",
        "new": "새것",
        ("%(n)s day", "%(n)s days"): ("%(n)s일",),
    }
