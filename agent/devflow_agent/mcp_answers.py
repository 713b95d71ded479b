"""What the MCP tools answer. From these the SDK makes the output schemas that a client reads."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


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
    linked_projects: list[str]
    interval: int = Field(description="Seconds between two automatic syncs.")
    batch_size: int
    sync_queue_size: int = Field(description="Events of linked projects that wait to be sent.")
    synced: int
    failed: int = Field(description="Events the server refused for good; they stay on this PC.")
    last_sync_time: str | None
    sync_success_rate: float | None = Field(description="0 to 1 over the last 100 attempts.")
    average_sync_latency_ms: float | None
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
    events: int
    commits: int = Field(description="The developer's own, merges included.")
    commits_by_others: int
    insertions: int
    deletions: int
    files: int = Field(description="Distinct files the developer changed.")
    active_seconds: float = Field(description="Gaps of at most 15 minutes between the developer's events.")


class DayAnswer(_Answer):
    date: str
    numbers: NumbersAnswer


class EventAnswer(_Answer):
    time: str
    project: str
    event_type: str
    event_data: dict[str, Any]


class ActivityAnswer(_Answer):
    since: str
    until: str
    projects: list[str]
    authors_known: bool = Field(description="False: no git user.email is known, so no commit counts as own.")
    total: NumbersAnswer
    days: list[DayAnswer] = Field(description="Days on which something happened, oldest first.")
    events: list[EventAnswer] = Field(description="Newest first, at most `limit`.")
    more_events: bool = Field(description="True if there are older events than those listed.")
