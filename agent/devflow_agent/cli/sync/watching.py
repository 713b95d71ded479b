"""``devflow sync status | queue | errors | logs | history``: how sync is doing, by this PC's records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from devflow_agent.cli.run import Run, as_json, json_option
from devflow_agent.config import iso, now_ms
from devflow_agent.outbox import Attempt, Pause
from devflow_agent.plain import plain

if TYPE_CHECKING:
    from devflow_agent.analyse.refusals import Refusal
    from devflow_agent.analyse.sync_history import Day
    from devflow_agent.analyse.waiting import Queue, Waiting

MOST: Final = 10_000
"""Rows of a list: as many attempts are kept."""

last_option = click.option(
    "--last", type=click.IntRange(1, MOST), default=20, show_default=True, help="At most so many."
)


@click.command("status")
@json_option
@click.pass_obj
def status(run: Run, to_json: bool) -> None:
    """Show how sync is doing. Asks only this PC."""
    from devflow_agent.analyse.sync_state import sync_state
    from devflow_agent.cli import show

    state = sync_state(run.home, run.store)
    if to_json:
        as_json(show.sync_data(state))
    else:
        click.echo("\n".join(show.sync_lines(state)))


@click.command("queue")
@json_option
@click.pass_obj
def queue(run: Run, to_json: bool) -> None:
    """Show what waits to be sent, since when, and why it waits."""
    from devflow_agent.analyse import waiting

    found = waiting.queue(run.home, run.store, now_ms())
    if to_json:
        as_json(_queue_data(found))
    else:
        click.echo("\n".join(_queue_lines(found)))


def _queue_data(found: Queue) -> dict[str, Any]:
    from devflow_agent.analyse.waiting import STEPS

    return {
        "syncQueueSize": found.size,
        "heldBack": found.held,
        "oldest": None if found.oldest_ms is None else iso(found.oldest_ms),
        "nextBatch": found.next_batch,
        "currentBatchSize": found.batch_size,
        "backOff": None
        if found.pause is None
        else {"until": iso(found.pause.until_ms), "why": found.pause.why},
        "projects": [
            {
                "projectId": str(one.project.id),
                "name": one.project.name,
                "linkedTo": one.project.remote_name,
                "shares": one.project.level,
                "events": one.events,
                "oldest": iso(one.oldest_ms),
                "byType": dict(sorted(one.by_type.items())),
                "refusedForNow": one.refused,
                "why": one.why,
                "next": STEPS[one.why],
            }
            for one in found.projects
        ],
    }


def _queue_lines(found: Queue) -> list[str]:
    if not found.projects:
        return ["nothing waits"]
    held = f"; {found.held:,} held back, of projects that share nothing" if found.held else ""
    lines = [f"{found.size:,} to send, {found.next_batch:,} with the next batch{held}"]
    for one in found.projects:
        lines += ["", *_project_lines(one, found.pause)]
    return lines


def _project_lines(one: Waiting, pause: Pause | None) -> list[str]:
    from devflow_agent.analyse.waiting import STEPS, Why

    target = "" if one.project.remote_name is None else f" -> {plain(one.project.remote_name)}"
    why = (
        f"{one.why} until {iso(pause.until_ms)}: {plain(pause.why)}"
        if one.why == Why.BACK_OFF and pause
        else one.why
    )
    lines = [
        f"{plain(one.project.name)}{target}",
        *(f"  {count:>8,}  {kind}" for kind, count in one.by_type.most_common()),
        f"  oldest  {iso(one.oldest_ms)}",
        f"  why     {why}",
        f"  next    {STEPS[one.why]}",
    ]
    if one.refused:
        lines.insert(-2, f"  refused for now before: {one.refused:,} (`devflow sync errors`)")
    return lines


@click.command("errors")
@click.option("--last", type=click.IntRange(1, MOST), default=10, show_default=True, help="At most so many.")
@json_option
@click.pass_obj
def errors(run: Run, last: int, to_json: bool) -> None:
    """Show which events the server refused, for good or for now, the last refused first, and what to do."""
    from devflow_agent.analyse import refusals

    found = refusals.latest(run.store, last)
    if to_json:
        as_json([_refusal_data(one) for one in found])
    else:
        click.echo("\n".join(line for one in found for line in _refusal_lines(one)) or "nothing was refused")


def _refusal_data(one: Refusal) -> dict[str, Any]:
    event, at_ms = one.record.event, one.record.last_attempt_ms
    return {
        "id": str(event.id),
        "eventType": event.event_type,
        "eventTime": iso(event.timestamp_ms),
        "refusedAt": None if at_ms is None else iso(at_ms),
        "code": one.code,
        "reason": one.reason,
        "isFinal": one.is_final,
        "attempts": one.record.attempts,
        "next": one.step,
    }


def _refusal_lines(one: Refusal) -> list[str]:
    event, at_ms = one.record.event, one.record.last_attempt_ms
    when = "at a time unknown" if at_ms is None else iso(at_ms)
    code = "" if one.code is None else f"{plain(one.code)}: "
    return [
        f"{event.id}  {event.event_type}  {'for good' if one.is_final else 'for now'}, {when}",
        f"  why   {code}{plain(one.reason)}",
        f"  next  {one.step}",
    ]


@click.command("logs")
@last_option
@json_option
@click.pass_obj
def logs(run: Run, last: int, to_json: bool) -> None:
    """Show the attempts to send, newest first."""
    from devflow_agent import outbox
    from devflow_agent.cli import show

    found = outbox.attempts(run.store, last)
    if to_json:
        as_json([show.attempt_data(attempt) for attempt in found])
    else:
        click.echo("\n".join([_LOG_HEAD, *map(_log_line, found)]) if found else "never sent")


_LOG_HEAD: Final = f"{'time':<25}  {'sent':>6} {'synced':>6} {'failed':>6} {'bytes':>9} {'ms':>6}  outcome"


def _log_line(attempt: Attempt) -> str:
    latency = "-" if attempt.latency_ms is None else f"{attempt.latency_ms:,}"
    detail = f": {plain(attempt.detail)}" if attempt.detail else ""
    return (
        f"{iso(attempt.timestamp_ms):<25}  {attempt.sent:>6,} {attempt.synced:>6,} {attempt.failed:>6,}"
        f" {attempt.bytes:>9,} {latency:>6}  {plain(attempt.outcome)}{detail}"
    )


@click.command("history")
@click.option(
    "--days", type=click.IntRange(1, 3_660), default=14, show_default=True, help="So many, with today."
)
@json_option
@click.pass_obj
def history(run: Run, days: int, to_json: bool) -> None:
    """Show by day what was sent, how often that worked, and how fast; only days with an attempt."""
    from devflow_agent.analyse import sync_history

    found = sync_history.by_day(run.store, days, now_ms())
    if to_json:
        as_json([_day_data(day) for day in found])
    else:
        click.echo(
            "\n".join([_DAY_HEAD, *map(_day_line, found)]) if found else "nothing was sent on these days"
        )


def _day_data(day: Day) -> dict[str, Any]:
    return {
        "date": day.date,
        "attempts": day.attempts,
        "batches": day.batches,
        "events": day.events,
        "bytesSent": day.bytes,
        "syncSuccessRate": day.success_rate,
        "averageSyncLatency": day.average_latency_ms,
    }


_DAY_HEAD: Final = f"{'day':<10}  {'events':>8} {'batches':>7} {'bytes':>11} {'success':>7} {'latency':>9}"


def _day_line(day: Day) -> str:
    latency = "unknown" if day.average_latency_ms is None else f"{day.average_latency_ms:,.0f} ms"
    return (
        f"{day.date:<10}  {day.events:>8,} {day.batches:>7,} {day.bytes:>11,}"
        f" {day.success_rate:>7.1%} {latency:>9}"
    )
