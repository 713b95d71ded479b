"""What ``devflow status`` says, as text and as JSON. Reads the local store only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from devflow import wire
from devflow_agent import daemon_lock
from devflow_agent.analyse import activity, asking
from devflow_agent.analyse.activity import Activity
from devflow_agent.analyse.sync_state import SyncState, sync_state
from devflow_agent.cli import numbers
from devflow_agent.cli.numbers import duration
from devflow_agent.config import Home, iso
from devflow_agent.local_calendar import Calendar
from devflow_agent.outbox import Attempt
from devflow_agent.plain import counted, plain
from devflow_agent.store import Event, Level, Project, Store

LAST_EVENTS: Final = 5
SHARES: Final = {Level.OFF: "nothing", Level.METRICS: "metrics", Level.METADATA: "metadata"}
"""In a sentence."""
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Overview:
    home: Home
    projects: list[Project]
    counts: dict[UUID, Counter[wire.EventType]]
    week: Activity
    authors_known: bool
    last: list[Event]
    watching: bool
    sync: SyncState


def overview(home: Home, store: Store, now_ms: int) -> Overview:
    last_7_days = asking.question(store, Calendar.of_this_pc(), now_ms)
    return Overview(
        home=home,
        projects=store.projects(),
        counts=store.event_counts(),
        week=activity.count(store, last_7_days),
        authors_known=bool(last_7_days.author_keys),
        last=store.events(limit=LAST_EVENTS),
        watching=daemon_lock.running(home) is not None,
        sync=sync_state(home, store),
    )


def as_data(seen: Overview) -> dict[str, Any]:
    """The JSON of ``--json``: camelCase, times as ISO 8601, durations in seconds."""
    return {
        "home": str(seen.home.path),
        "watching": seen.watching,
        "authorsKnown": seen.authors_known,
        "projects": [
            {
                "id": str(project.id),
                "name": project.name,
                "path": str(project.path),
                "linkedTo": None if project.remote_id is None else str(project.remote_id),
                "shares": project.level,
                "events": seen.counts[project.id].total(),
            }
            for project in seen.projects
        ],
        "eventsByType": dict(sorted(_by_type(seen).items())),
        "timezone": seen.week.zone,
        "today": numbers.data(seen.week.parts[-1].numbers),
        "last7Days": numbers.data(seen.week.total),
        "days": [{"date": day.group, **numbers.data(day.numbers)} for day in seen.week.parts],
        "lastEvents": [
            {
                "id": str(event.id),
                "time": iso(event.timestamp_ms),
                "eventType": event.event_type,
                "projectId": str(event.project_id),
                "eventData": msgspec.json.decode(event.data_json),
            }
            for event in seen.last
        ],
        "sync": sync_data(seen.sync),
    }


def sync_data(sync: SyncState) -> dict[str, Any]:
    attempt = sync.last_attempt
    return {
        "enabled": sync.enabled,
        "endpoint": sync.endpoint,
        "email": sync.email,
        "damage": sync.damage,
        "linked": [
            {"name": name, "remoteName": remote, "shares": level} for name, remote, level in sync.linked
        ],
        "intervalSeconds": sync.interval_s,
        "batchSize": sync.batch_size,
        "currentBatchSize": sync.current_batch_size,
        "networkQuality": sync.network,
        "syncQueueSize": sync.pending,
        "pending": sync.pending,
        "heldBack": sync.held,
        "synced": sync.synced,
        "failed": sync.failed,
        "lastSyncTime": None if sync.last_success_ms is None else iso(sync.last_success_ms),
        "syncSuccessRate": sync.success_rate,
        "averageSyncLatency": sync.average_latency_ms,
        "alerts": [{"alert": alert, "since": iso(since), "says": says} for alert, since, says in sync.alerts],
        "sharesSettings": sync.shares_settings,
        "sharingTrouble": sync.sharing_trouble,
        "clockSkewSeconds": None if sync.clock_skew_ms is None else sync.clock_skew_ms // 1000,
        "lastAttempt": None if attempt is None else attempt_data(attempt),
    }


def attempt_data(attempt: Attempt) -> dict[str, Any]:
    return {
        "time": iso(attempt.timestamp_ms),
        "outcome": attempt.outcome,
        "detail": attempt.detail,
        "sent": attempt.sent,
        "synced": attempt.synced,
        "failed": attempt.failed,
        "bytesSent": attempt.bytes,
        "latencyMs": attempt.latency_ms,
    }


def as_text(seen: Overview) -> str:
    if not seen.projects:
        return numbers.NO_PROJECT
    lines = [
        "watching" if seen.watching else "not watching: `devflow watch` records what you do from now on",
        "",
        *_numbers_lines(seen),
        "",
        "Projects",
        *(_project_line(project, seen.counts[project.id].total()) for project in seen.projects),
        "",
        "Events",
        *(f"  {count:>8,}  {kind}" for kind, count in _by_type(seen).most_common()),
        "",
        "Last",
        *(_event_line(event, seen.projects) for event in seen.last),
        "",
        *sync_lines(seen.sync),
    ]
    return "\n".join(lines)


def _numbers_lines(seen: Overview) -> list[str]:
    today, week = seen.week.parts[-1].numbers, seen.week.total
    lines = numbers.table([("Today", today), ("Last 7 days", week)])
    if week.commits_by_others:
        lines.append(f"  and {counted(week.commits_by_others, 'commit')} of others in the last 7 days")
    return lines if seen.authors_known else [*lines, numbers.AUTHORS_UNKNOWN]


def _project_line(project: Project, events: int) -> str:
    linked = "" if project.remote_name is None else f" -> {plain(project.remote_name)}"
    gone = "" if project.path.is_dir() else "  (nothing there now)"
    return f"  {events:>8,}  {plain(project.name)}  {plain(str(project.path))}{linked}{gone}"


def _event_line(event: Event, projects: list[Project]) -> str:
    name = next(project.name for project in projects if project.id == event.project_id)
    at = datetime.fromtimestamp(event.timestamp_ms / 1000, UTC).astimezone()
    return f"  {at:%Y-%m-%d %H:%M:%S}  {event.event_type:<20} {plain(name)}  {subject(event)}"


def subject(event: Event) -> str:
    """What the event is about in a few words: a path, a branch, the start of a commit's hash."""
    data = msgspec.json.decode(event.data_json)
    if "sha" in data and "branch" not in data and "tag" not in data:
        return str(data["sha"])[:12]
    return plain(str(data.get("path") or data.get("branch") or data.get("tag") or "detached HEAD"), 120)


def sync_lines(sync: SyncState) -> list[str]:
    """How sync is doing and what to do next."""
    lines = [f"Sync is {'on' if sync.enabled else 'off'}"]
    if sync.damage is not None:
        return [*lines, f"  trouble   {plain(sync.damage)}"]
    if sync.endpoint is None:
        return [f"{lines[0]}; nothing leaves this PC (`devflow sync init URL` sets up a server)"]
    lines.append(f"  server    {plain(sync.endpoint)}")
    lines.append(f"  signed in {plain(sync.email) if sync.email else 'no: `devflow sync auth`'}")
    for name, remote, level in sync.linked:
        lines.append(f"  project   {plain(name)} -> {plain(remote)}, shares {SHARES[level]}")
    if not sync.linked:
        lines.append("  project   none linked: `devflow sync enable` in a repository")
    if sync.shares_settings:
        lines.append(f"  settings  {plain(sync.sharing_trouble or 'in common with your other PCs')}")
    held = f", {sync.held:,} held back (`devflow sync share`)" if sync.held else ""
    lines.append(
        f"  events    {sync.pending:,} waiting, {sync.synced:,} synced, {sync.failed:,} refused{held}"
    )
    lines.append(
        f"  network   {sync.network}: {sync.current_batch_size:,} events an upload at most{_numbers(sync)}"
    )
    lines.append(f"  last      {'never sent' if sync.last_success_ms is None else iso(sync.last_success_ms)}")
    if sync.clock_skew_ms:
        lines.append(f"  clock     {_skew(sync.clock_skew_ms)} the server's: events carry the time it shows")
    lines += [f"  ALERT     since {iso(since)}: {plain(says)}" for _, since, says in sync.alerts]
    attempt = sync.last_attempt
    if attempt is not None and attempt.outcome != "ok":
        lines.append(f"  trouble   {iso(attempt.timestamp_ms)} {attempt.outcome}: {plain(attempt.detail)}")
    return lines


def _numbers(sync: SyncState) -> str:
    if sync.success_rate is None:
        return ""
    latency = "" if sync.average_latency_ms is None else f", {sync.average_latency_ms:,.0f} ms on average"
    return f"; {sync.success_rate:.1%} of attempts worked{latency}"


def _skew(milliseconds: int) -> str:
    days = round(abs(milliseconds) / DAY_MS)
    apart = counted(days, "day") if days > 1 else duration(abs(milliseconds))
    return f"{apart} {'ahead of' if milliseconds > 0 else 'behind'}"


def _by_type(seen: Overview) -> Counter[wire.EventType]:
    return sum(seen.counts.values(), Counter())
