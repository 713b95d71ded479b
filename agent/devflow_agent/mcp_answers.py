"""What the MCP tools answer. From these the SDK makes the output schemas that a client reads."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from devflow.windows import Grain


class _Answer(BaseModel):
    """Base of the structured answers: camelCase, as everywhere in the protocol."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


class AttemptAnswer(_Answer):
    time: str
    outcome: str = Field(description="ok, partial, offline, unauthorized, refused or too_large")
    detail: str
    sent: int
    synced: int
    failed: int
    bytes_sent: int
    latency_ms: int | None


class StatusAnswer(_Answer):
    enabled: bool
    endpoint: str | None
    signed_in_as: str | None
    damage: str | None = Field(description="Why server and account cannot be read from this PC's files.")
    linked_projects: list[str] = Field(
        description="NAME -> the server's name (shares nothing, metrics or metadata)."
    )
    interval: int = Field(description="Seconds between two automatic syncs.")
    batch_size: int = Field(description="Events a request at most, by the developer's wish.")
    current_batch_size: int = Field(description="Events a request at most, as the network is now.")
    network_quality: str = Field(description="excellent, good, fair, poor or unknown")
    sync_queue_size: int = Field(description="Events of linked projects that wait to be sent.")
    held_back: int = Field(
        description="Events of linked projects that share nothing: the developer's choice."
    )
    synced: int
    failed: int = Field(description="Events the server refused for good; they stay on this PC.")
    last_sync_time: str | None
    sync_success_rate: float | None = Field(description="0 to 1 over the last 100 attempts.")
    average_sync_latency: float | None = Field(description="Milliseconds.")
    alerts: list[str] = Field(description="What is wrong now and since when; empty if nothing is.")
    last_attempt: AttemptAnswer | None


class ConfigureAnswer(_Answer):
    changed: list[str] = Field(description="What this call changed, in words.")
    next_step: str | None = Field(description="What the developer has to do before anything is sent.")
    status: StatusAnswer


class TriggerAnswer(_Answer):
    synced: int
    failed: int = Field(description="Refused for good by this sync.")
    kept: int = Field(description="Refused for now; they wait on.")
    sync_queue_size: int


class HistoryAnswer(_Answer):
    attempts: list[AttemptAnswer] = Field(description="Newest first.")


class NumbersAnswer(_Answer):
    """The developer's own and, apart, what others did: together they are the whole project's."""

    events: int
    commits: int = Field(description="Merges included.")
    insertions: int
    deletions: int
    files: int = Field(description="Distinct files the developer changed.")
    active_seconds: int = Field(
        description="Gaps between neighbouring events of the developer, each at most `idleLimit` long."
    )
    events_by_others: int
    commits_by_others: int
    files_by_others: int = Field(description="Distinct files that only others changed.")


class WindowAnswer(_Answer):
    group: str = Field(description="2026-11-19T15:00+01:00, 2026-11-19, 2026-W47 or 2026-11.")
    start: str
    end: str
    numbers: NumbersAnswer


class EventAnswer(_Answer):
    time: str
    project: str
    event_type: str
    event_data: dict[str, Any]


class ActivityAnswer(_Answer):
    since: str
    until: str
    by: Grain
    timezone: str = Field(description="Of the windows: this PC's.")
    idle_limit: int = Field(
        description="The longest gap between two events, in seconds, that counts as work."
    )
    projects: list[str]
    authors_known: bool = Field(description="False: no git user.email is known, so no commit counts as own.")
    total: NumbersAnswer
    windows: list[WindowAnswer] = Field(description="Those in which something happened, oldest first.")
    events: list[EventAnswer] = Field(description="Newest first, at most `limit`.")
    more_events: bool = Field(description="True if there are older events than those listed.")
