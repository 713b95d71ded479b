"""``devflow sync trace ID``: where one event is, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from devflow import wire
from devflow.errors import Invalid
from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.config import iso, now_ms
from devflow_agent.plain import counted, plain

if TYPE_CHECKING:
    from uuid import UUID

    from devflow_agent.outbox import Record
    from devflow_agent.tracing import OnServer, Traced


@click.command("trace")
@click.argument("event_id", metavar="ID", type=click.UUID)
@click.option(
    "--at", metavar="TIME", help="When it happened, for one of another PC: ISO 8601 or milliseconds."
)
@json_option
@click.pass_obj
def trace(run: Run, event_id: UUID, at: str | None, to_json: bool) -> None:
    """Show where the event with this ID is, why, and what to do. Changes nothing."""
    from devflow_agent import tracing

    at_ms = None if at is None else _moment(at)
    found = tracing.trace(run.home, run.store, run.http, event_id, now_ms(), at_ms=at_ms)
    if to_json:
        as_json(_data(found))
    else:
        click.echo("\n".join(_lines(found)))


def _moment(text: str) -> int:
    from devflow_agent.analyse import asking
    from devflow_agent.local_calendar import Calendar

    if text.isascii() and text.isdigit():
        at_ms = int(text[:20])
    else:
        at_ms = asking.moment(text, "at", Calendar.of_this_pc())
    if not 0 <= at_ms <= wire.MAX_TIMESTAMP_MS:
        raise Invalid(f"at: expected a time up to the year 9998, got {text[:40]}")
    return at_ms


def _data(found: Traced) -> dict[str, Any]:
    from devflow_agent.cli import show

    return {
        "id": str(found.event_id),
        "local": None if found.record is None else _record_data(found.record, found),
        "attempts": [show.attempt_data(attempt) for attempt in found.attempts],
        "server": _server_data(found.on_server),
        "cause": found.advice.cause,
        "says": found.advice.says,
        "next": found.advice.next_step,
    }


def _record_data(record: Record, found: Traced) -> dict[str, Any]:
    event = record.event
    return {
        "localId": event.local_id,
        "eventType": event.event_type,
        "time": iso(event.timestamp_ms),
        "timestamp": event.timestamp_ms,
        "project": None if found.project is None else found.project.name,
        "linkedTo": None if found.project is None else found.project.remote_name,
        "syncStatus": event.sync_status,
        "syncAttempts": record.attempts,
        "lastSyncError": event.last_sync_error,
        "lastAttempt": None if record.last_attempt_ms is None else iso(record.last_attempt_ms),
        "syncedAt": None if record.synced_ms is None else iso(record.synced_ms),
    }


def _server_data(on_server: OnServer) -> dict[str, Any]:
    found = on_server.trace
    said: dict[str, Any] = {"answer": on_server.answer, "detail": on_server.detail or None}
    if found is not None:
        said |= {
            "state": found.state,
            "counted": found.counted,
            "deviceId": None if found.device_id is None else str(found.device_id),
            "receivedAt": None if found.received_at is None else iso(found.received_at),
            "seq": found.seq,
        }
    return said


def _lines(found: Traced) -> list[str]:
    lines = [f"event     {found.event_id}"]
    if found.record is None:
        lines.append("here      not recorded by this PC")
    else:
        lines += _record_lines(found.record, found)
    lines += [
        f"attempt   {iso(one.timestamp_ms)} {plain(one.outcome)} {plain(one.detail)}".rstrip()
        for one in found.attempts
    ]
    return [
        *lines,
        f"server    {_server_line(found.on_server)}",
        f"cause     {plain(found.advice.cause)}: {plain(found.advice.says)}",
        f"next      {plain(found.advice.next_step)}",
    ]


def _record_lines(record: Record, found: Traced) -> list[str]:
    from devflow_agent.cli import show

    event = record.event
    name = "?" if found.project is None else plain(found.project.name)
    error = "" if event.last_sync_error is None else f"; last refused: {plain(event.last_sync_error)}"
    return [
        f"what      {event.event_type} {show.subject(event)}, {iso(event.timestamp_ms)}, {name}",
        f"here      {event.sync_status}, {counted(record.attempts, 'verdict')}{error}",
    ]


def _server_line(on_server: OnServer) -> str:
    found = on_server.trace
    if found is None:
        return f"{on_server.answer}{': ' + plain(on_server.detail) if on_server.detail else ''}"
    when = "" if found.received_at is None else f", received {iso(found.received_at)}"
    return f"{on_server.answer}, {found.state}{when}, counted for {found.counted}"
