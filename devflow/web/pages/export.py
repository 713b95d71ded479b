"""Taking one's data along: every event as JSON lines or as a table, and the account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from flask import Response
from flask.typing import ResponseReturnValue

from devflow import export, own_data, windows
from devflow.access import Action
from devflow.export import Row
from devflow.web import csv_lines, guard, streams
from devflow.web.current import calendar, context, now, session
from devflow.web.pages import bp
from devflow.web.session import viewer
from devflow.web.streams import Aborted, Admission, Ended

COLUMNS: Final = (
    "id",
    "time",
    "receivedAt",
    "project",
    "projectId",
    "device",
    "deviceId",
    "localId",
    "eventType",
    "path",
    "eventData",
    "unreadable",
)
# Spreadsheet programs take UTF-8 without it for another encoding, and show what is not ASCII wrong.
BOM: Final = b"\xef\xbb\xbf"
_encoder: Final = msgspec.json.Encoder()


class _Cut(msgspec.Struct, frozen=True):
    """The last line of JSON lines that are not all."""

    error: str


class _Path(msgspec.Struct, frozen=True):
    path: str = ""


@bp.get("/me/export.jsonl")
@guard.needs(Action.USE_OWN)
def export_jsonl() -> ResponseReturnValue:
    """The wire form of each event and ``receivedAt``; a last line with ``error`` if it was cut."""

    def body(pages: Iterator[Sequence[Row]], admission: Admission) -> Iterator[bytes]:
        try:
            yield from streams.chunks(([json_line(row) for row in page] for page in pages), admission)
        except Ended:
            yield _encoder.encode(_Cut("this export was cut: its session has ended")) + b"\n"

    return _streamed("jsonl", "application/x-ndjson", body)


@bp.get("/me/export.csv")
@guard.needs(Action.USE_OWN)
def export_csv() -> ResponseReturnValue:
    """``COLUMNS`` of each event, for spreadsheets; if it was cut, so is the transfer itself."""

    def body(pages: Iterator[Sequence[Row]], admission: Admission) -> Iterator[bytes]:
        yield BOM + _csv_line(COLUMNS)
        try:
            yield from streams.chunks(([csv_line(row) for row in page] for page in pages), admission)
        except Ended as ended:
            raise Aborted from ended

    return _streamed("csv", "text/csv; charset=utf-8; header=present", body)


@bp.get("/me/account.json")
@guard.needs(Action.USE_OWN)
def export_account() -> ResponseReturnValue:
    account = guard.act(own_data.export_account)
    body = msgspec.json.format(_encoder.encode(account), indent=2) + b"\n"
    return _download(body, "application/json", "account", "json")


def _streamed(
    form: str, content_type: str, body: Callable[[Iterator[Sequence[Row]], Admission], Iterator[bytes]]
) -> Response:
    which = export.numbers(session(), viewer())
    guard.act(lambda writing, by: export.note(writing, by, form, len(which)))
    pages = export.pages(context().database, context().vault, viewer().id, which)
    response = _download(body(pages, Admission.of_request()), content_type, "events", form)
    response.headers["X-Accel-Buffering"] = "no"  # a proxy that keeps it all would hide that it was cut
    return response


def _download(body: bytes | Iterator[bytes], content_type: str, what: str, ending: str) -> Response:
    today = windows.day_of(now(), calendar().zone)
    response = Response(body, content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="devflow-{what}-{today}.{ending}"'
    return response


def json_line(row: Row) -> bytes:
    return _encoder.encode(row.event) + b"\n"


def csv_line(row: Row) -> bytes:
    event = row.event
    data = bytes(event.event_data)
    return _csv_line(
        (
            str(event.id),
            _iso(event.timestamp),
            _iso(event.received_at),
            row.project,
            str(event.project_id),
            row.device or "",
            str(event.device_id or ""),
            str(event.local_id or ""),
            event.event_type,
            "" if data == b"null" else msgspec.json.decode(data, type=_Path).path,
            "" if data == b"null" else data.decode(),
            "true" if event.unreadable else "",
        )
    )


def _csv_line(cells: Sequence[str]) -> bytes:
    return csv_lines.line(cells).encode()


def _iso(timestamp_ms: int) -> str:
    """2026-11-03T15:30:05.123Z, which sorts as text and reads everywhere."""
    at = datetime.fromtimestamp(timestamp_ms // 1_000, UTC).replace(tzinfo=None)
    return f"{at.isoformat()}.{timestamp_ms % 1_000:03}Z"
