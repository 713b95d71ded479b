"""Tables whose rows can be put in another order, and taken along as CSV: both by the page's address.

``?sort=people.commits`` orders the table ``people`` by its column ``commits``, the largest first;
``-commits`` turns it round. ``?export=people`` answers with the table alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from flask import Response, request

from devflow.errors import Invalid
from devflow.web import csv_lines

Row = TypeVar("Row")
Value = str | int | float | None
SORT: Final = "sort"
EXPORT: Final = "export"


@dataclass(frozen=True)
class Order:
    """The order asked for; ``column`` is None for the table's own."""

    column: str | None
    is_turned: bool = False

    def __str__(self) -> str:
        return f"{'-' if self.is_turned else ''}{self.column}" if self.column else ""


@dataclass(frozen=True)
class Table(Generic[Row]):
    """``columns`` are what rows are sorted by and exported as: text from A on, numbers from the largest."""

    name: str
    columns: Mapping[str, Callable[[Row], Value]]

    def order(self) -> Order:
        """As the address asks for it: part of the key of what is shown. Raise Invalid for no column."""
        table, _, column = request.args.get(SORT, "").partition(".")
        if table != self.name:
            return Order(None)
        name = column.removeprefix("-")
        if name not in self.columns:
            names = ", ".join(self.columns)
            raise Invalid(f"expected {SORT}={self.name}. and one of {names}, got {name[:40]!r}")
        return Order(name, column.startswith("-"))

    def next_order(self, order: Order, column: str) -> str:
        """What the column's head links to: by it, or turned round if it is by it already."""
        turned = order.column == column and not order.is_turned
        return f"{self.name}.{'-' if turned else ''}{column}"

    def sorted(self, rows: Iterable[Row], order: Order) -> list[Row]:
        """What is not known comes last, whatever the direction."""
        found = list(rows)
        if order.column is None:
            return found
        value = self.columns[order.column]
        known = [row for row in found if value(row) is not None]
        is_text = any(isinstance(value(row), str) for row in known)
        known.sort(key=lambda row: _comparable(value(row)), reverse=is_text == order.is_turned)
        return known + [row for row in found if value(row) is None]

    def csv(self, rows: Iterable[Row]) -> Response:
        head = csv_lines.line(self.columns)
        lines = [csv_lines.line(value(row) for value in self.columns.values()) for row in rows]
        response = Response(head + "".join(lines), mimetype="text/csv")
        response.headers["Content-Disposition"] = f'attachment; filename="{self.name}.csv"'
        return response


def _comparable(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def exported() -> str | None:
    """The name of the table that is wanted alone."""
    return request.args.get(EXPORT)
