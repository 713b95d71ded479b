"""Every number on a page is what a program is answered and a recount finds, of hundreds of histories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import given, settings

from devflow.context import Context
from tests import numbers_on_pages as numbers
from tests.numbers_on_pages import HISTORIES, OFFICES, Deed


@pytest.fixture
def opened(tmp_path: Path, database_url: str) -> Iterator[tuple[Context, Flask]]:
    with numbers.opened(tmp_path, database_url) as made:
        yield made


@settings(OFFICES, max_examples=200)
@given(deeds=HISTORIES)
def test_every_number_on_every_page_equals_a_recount(
    opened: tuple[Context, Flask], deeds: list[Deed]
) -> None:
    numbers.pages_are_right(numbers.office(*opened, deeds), deeds)


@settings(OFFICES, max_examples=200)
@given(deeds=HISTORIES)
def test_every_number_that_programs_are_answered_equals_the_same_recount(
    opened: tuple[Context, Flask], deeds: list[Deed]
) -> None:
    numbers.answers_are_right(numbers.office(*opened, deeds), deeds)
