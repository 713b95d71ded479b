"""``devflow sync push | preview | retry``: send, see what would be sent, let it wait to be sent again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from devflow import wire
from devflow.errors import Offline
from devflow_agent import outbox
from devflow_agent.cli import progress
from devflow_agent.cli.run import Exit, Run, as_json, as_json_line, json_option
from devflow_agent.config import now_ms
from devflow_agent.plain import counted, plain
from devflow_agent.settings import Settings

if TYPE_CHECKING:
    from uuid import UUID

    from devflow_agent.batches import Preview
    from devflow_agent.sync import Pushed


@click.command("push")
@click.option("--all", "retry_failed", is_flag=True, help="Also send again what the server refused for good.")
@json_option
@click.pass_obj
def push(run: Run, retry_failed: bool, to_json: bool) -> None:
    """Send everything that waits, now."""
    from devflow_agent import sync as sender

    counts = outbox.counts(run.store)
    total = counts["pending"] + (counts["failed"] if retry_failed else 0)
    with progress.shown("events", total, quiet=to_json) as advance:
        try:
            pushed = sender.push(
                run.home,
                run.store,
                run.http,
                retry_failed=retry_failed,
                on_progress=lambda so_far: advance(so_far.sent),
            )
        except Offline as error:
            raise Offline(f"{error}; everything is kept, try again later") from error
    waiting, held = outbox.counts(run.store)["pending"], outbox.held(run.store)
    if to_json:
        as_json(
            {
                "synced": pushed.synced,
                "failed": pushed.failed,
                "kept": pushed.kept,
                "lost": pushed.lost,
                "pending": waiting,
                "heldBack": held,
            }
        )
    else:
        click.echo(_said(pushed, waiting) + _held(held))
    if pushed.failed:
        run.exit_code = Exit.REFUSED


def _said(pushed: Pushed, waiting: int) -> str:
    if not pushed.sent:
        return "nothing to send"
    said = [f"{counted(pushed.synced, 'event')} synced"]
    if pushed.lost:
        said.append(f"{pushed.lost:,} of them again, which the server had lost")
    if pushed.failed:
        said.append(f"{pushed.failed:,} refused for good (`devflow sync status`; --all tries them again)")
    if waiting:
        said.append(f"{waiting:,} wait")
    return ", ".join(said)


def _held(events: int) -> str:
    return f"; {counted(events, 'event')} held back (`devflow sync share`)" if events else ""


@click.command("retry")
@click.argument("event_ids", metavar="[ID]...", nargs=-1, type=click.UUID)
@json_option
@click.pass_obj
def retry(run: Run, event_ids: tuple[UUID, ...], to_json: bool) -> None:
    """Let the events with these IDs, or all, wait again that the server refused for good. Sends nothing."""
    if event_ids:
        outbox.retry(run.store, event_ids)
    waiting_again = len(set(event_ids)) if event_ids else outbox.retry_failed(run.store)
    if to_json:
        as_json({"waitingAgain": waiting_again, "pending": outbox.counts(run.store)["pending"]})
    elif waiting_again:
        click.echo(f"waiting again: {counted(waiting_again, 'event')}; next: `devflow sync push`")
    else:
        click.echo("nothing was refused for good")


@click.command("preview")
@click.option(
    "--limit",
    type=click.IntRange(1, wire.MAX_BATCH_EVENTS),
    help="At most so many events; a batch if not given.",
)
@json_option
@click.pass_obj
def preview(run: Run, limit: int | None, to_json: bool) -> None:
    """Show what the next upload holds, to the byte, and send nothing. Works while sync is off, too.

    With --json it is exactly the body of the request, before it is compressed; on a terminal with all
    but ASCII spelled out.
    """
    from devflow_agent import batches, credentials, network

    server = credentials.enrolled(run.home.credentials)
    size = limit or network.batch_size(run.store, Settings.load(run.store), now_ms())
    found = batches.preview(run.store, server.signed_in().user_id, size)
    if to_json:
        _exactly(found.body)
        return
    click.echo(_headline(found, server.server_url) + _held(outbox.held(run.store)))
    if found.events:
        as_json(msgspec.json.decode(found.body))


def _exactly(body: bytes) -> None:
    """To the byte for a script; a terminal could be steered by a path."""
    if sys.stdout.isatty():
        as_json_line(msgspec.json.decode(body))
    else:
        click.echo(body)


def _headline(found: Preview, url: str) -> str:
    if not found.events:
        return "nothing would be sent: no event of a project that shares anything waits"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.by_type.items())
    return (
        f"to {plain(url)}: {counted(found.events, 'event')} ({kinds}) in {len(found.body):,} bytes,"
        f" compressed {found.packed_bytes:,};"
        " with it go your token, this PC's time, and numbers of how sync is doing"
    )
