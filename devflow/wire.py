"""The contract: what may leave a developer's machine, and what the server answers.

All that agent and server share. JSON names are camelCase, Python names snake_case. Every
event type has a closed set of fields, so there is no place a file's content, a commit
message or a command line could travel in; a new field is a new protocol version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import IntEnum, StrEnum
from itertools import chain
from typing import Annotated, Any, Final, Literal, TypeVar, Union
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct

from devflow.errors import Invalid

PROTOCOL: Final = 1
"""Sent by the agent in ``DevFlow-Protocol``; a server that speaks another one answers 426."""

PROTOCOL_HEADER: Final = "DevFlow-Protocol"
SERVER_HEADER: Final = "DevFlow-Server"
"""Carries the server's own id on every answer, so an agent never settles on a stranger's word."""
EPOCH_HEADER: Final = "DevFlow-Epoch"
"""Carries an id that changes when a backup is restored: what was acknowledged before may be gone."""
CLOCK_HEADER: Final = "Date"
"""On uploads and on their answers: the sender's own time (RFC 9110, 6.6.1), for ``clock_ahead``."""
REPORT_HEADER: Final = "DevFlow-Sync"
"""On uploads: how sync is doing on the PC, see ``Report``. Whoever does not know it ignores it.

A stream has it in its messages, as ``StreamBatch.report``."""
MAX_REPORT: Final = 200
SECOND_FACTOR: Final = "second_factor"
"""The ``code`` of a problem: the password is right, a code of the second factor is missing or wrong."""

CLOCK_TOLERANCE_MS: Final = 300_000
MAX_BATCH_EVENTS: Final = 1_000
MAX_BODY_BYTES: Final = 1 << 20
MAX_INFLATED_BYTES: Final = 8 << 20
MAX_EVENT_BYTES: Final = 32_768
MAX_FRAME_BYTES: Final = 65_536
"""A message of the stream, either way: any one event fits, or some hundred usual ones."""
STREAM_WINDOW: Final = 8
"""So many batches may be on their way in a stream before the first is answered."""
# The last millisecond of 9998: calendars end with 9999, and a window has to end after its events.
MAX_TIMESTAMP_MS: Final = 253_370_764_799_999
MAX_PATH: Final = 4_096
DAY_MS: Final = 86_400_000
MAX_DIGEST_DAYS: Final = 366
"""Days of one ``GET /sync/projects/ID/digests``."""

# For Python "$" is also before a last line end, for JSON Schema it is not; this is the end for both.
_END: Final = r"$(?!\n)"
# Only the canonical form, so that an answer repeats an id letter for letter.
_EVENT_ID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_PUBLIC: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
EventId = Annotated[str, Meta(pattern=f"^{_EVENT_ID}{_END}")]
PublicId = Annotated[str, Meta(pattern=f"^{_PUBLIC}{_END}")]
Millis = Annotated[int, Meta(ge=0, le=MAX_TIMESTAMP_MS)]
Count = Annotated[int, Meta(ge=0, le=2**40)]
LocalId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
FilePath = Annotated[str, Meta(min_length=1, max_length=MAX_PATH)]
RefName = Annotated[str, Meta(min_length=1, max_length=1_024)]
Sha = Annotated[str, Meta(pattern=f"^([0-9a-f]{{40}}|[0-9a-f]{{64}}){_END}")]
AuthorKey = Annotated[str, Meta(pattern=f"^[0-9a-f]{{32}}{_END}")]


class EventType(StrEnum):
    FILE_SAVED = "file.saved"
    FILE_CREATED = "file.created"
    FILE_DELETED = "file.deleted"
    FILE_RENAMED = "file.renamed"
    COMMIT = "git.commit"
    MERGE = "git.merge"
    COMMIT_FILES = "git.commit_files"
    BRANCH_SWITCHED = "git.branch_switched"
    BRANCH_CREATED = "git.branch_created"
    BRANCH_DELETED = "git.branch_deleted"
    TAG_CREATED = "git.tag_created"


class _Data(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of every ``eventData``: immutable, closed, camelCase on the wire."""


class FileSaved(_Data, frozen=True):
    path: FilePath
    size_bytes: Count


class FileCreated(_Data, frozen=True):
    path: FilePath
    size_bytes: Count


class FileDeleted(_Data, frozen=True):
    path: FilePath


class FileRenamed(_Data, frozen=True):
    path: FilePath
    old_path: FilePath


class FileChange(_Data, frozen=True, omit_defaults=True):
    """One line of ``git log --numstat``: a binary file has no line counts."""

    path: FilePath
    insertions: Count | None = None
    deletions: Count | None = None
    old_path: FilePath | None = None


class Commit(_Data, frozen=True):
    """A commit with at most one parent, counted against it (a root against the empty tree).

    ``insertions``, ``deletions`` and ``files_changed`` are of the whole commit; ``files`` is
    its first part, the rest follows in ``CommitFiles``.
    """

    sha: Sha
    parents: Annotated[list[Sha], Meta(max_length=1)]
    author: AuthorKey
    committer: AuthorKey
    committed_at: Millis
    insertions: Count
    deletions: Count
    files_changed: Count
    files: list[FileChange]


class Merge(_Data, frozen=True):
    """A commit with two parents or more. As in ``git log``, a merge itself changes no lines."""

    sha: Sha
    parents: Annotated[list[Sha], Meta(min_length=2, max_length=256)]
    author: AuthorKey
    committer: AuthorKey
    committed_at: Millis


class CommitFiles(_Data, frozen=True):
    """More files of a commit that does not fit one event; ``part`` counts from 2."""

    sha: Sha
    author: AuthorKey
    part: Annotated[int, Meta(ge=2, le=1_000_000)]
    files: Annotated[list[FileChange], Meta(min_length=1)]


class BranchSwitched(_Data, frozen=True):
    """``None`` for a detached HEAD."""

    branch: RefName | None
    previous: RefName | None


class BranchCreated(_Data, frozen=True):
    branch: RefName
    sha: Sha


class BranchDeleted(_Data, frozen=True):
    """``sha`` is the last commit the branch was seen at."""

    branch: RefName
    sha: Sha


class TagCreated(_Data, frozen=True):
    """``author`` is the tagger of an annotated tag; a light tag does not say who made it."""

    tag: RefName
    sha: Sha
    author: AuthorKey | None


EventData = (
    FileSaved
    | FileCreated
    | FileDeleted
    | FileRenamed
    | Commit
    | Merge
    | CommitFiles
    | BranchSwitched
    | BranchCreated
    | BranchDeleted
    | TagCreated
)

DATA: Final[dict[EventType, type[EventData]]] = {
    EventType.FILE_SAVED: FileSaved,
    EventType.FILE_CREATED: FileCreated,
    EventType.FILE_DELETED: FileDeleted,
    EventType.FILE_RENAMED: FileRenamed,
    EventType.COMMIT: Commit,
    EventType.MERGE: Merge,
    EventType.COMMIT_FILES: CommitFiles,
    EventType.BRANCH_SWITCHED: BranchSwitched,
    EventType.BRANCH_CREATED: BranchCreated,
    EventType.BRANCH_DELETED: BranchDeleted,
    EventType.TAG_CREATED: TagCreated,
}
TYPE_OF: Final[dict[type[EventData], EventType]] = {data: kind for kind, data in DATA.items()}


class SyncEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An immutable observation. ``timestamp`` is Unix milliseconds UTC, ``id`` a UUID v4."""

    id: EventId
    timestamp: Millis
    device_id: UUID
    user_id: UUID
    project_id: UUID
    local_id: LocalId
    event_type: EventType
    event_data: Raw


class Batch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The body of ``POST /sync/events``. Events stay raw, so that each is judged alone."""

    events: list[Raw]
    device_id: UUID


class ErrorCode(StrEnum):
    """Why the server did not take one event."""

    INVALID = "invalid"
    CONFLICT = "conflict"
    PROJECT = "project"
    DEVICE = "device"
    PERSON = "person"
    DAMAGED = "damaged"
    EXPIRED = "expired"


class Refusal(Struct, frozen=True, kw_only=True, rename="camel"):
    """``index`` is the event's place in the batch, for one whose id could not be read."""

    id: str
    index: int
    code: ErrorCode
    message: str
    retryable: bool


class BatchResult(Struct, frozen=True, kw_only=True, rename="camel"):
    """Every id sent stands in exactly one of ``synced_ids`` and ``errors``."""

    success: bool
    synced_ids: list[str]
    errors: list[Refusal]


DeviceName = Annotated[str, Meta(min_length=1, max_length=100)]


class Login(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """``POST /auth/login``. With a ``device_id`` the token is bound to that PC and may upload.

    ``code`` is of the second factor, for whoever has one: of the authenticator, or a recovery code.
    """

    email: Annotated[str, Meta(min_length=3, max_length=320)]
    password: Annotated[str, Meta(min_length=1, max_length=1_024)]
    code: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    device_id: UUID | None = None
    device_name: DeviceName | None = None


class Refresh(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=1_024)]


class Tokens(Struct, frozen=True, kw_only=True, rename="camel"):
    """``expires_at`` is when ``token`` ends, in Unix milliseconds."""

    token: str
    user_id: UUID
    refresh_token: str
    expires_at: int


class Pair(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """``POST /auth/pair``: a PC asks to be let in by its owner, in the browser (after RFC 8628)."""

    device_id: UUID
    device_name: DeviceName


class Pairing(Struct, frozen=True, kw_only=True, rename="camel"):
    """The owner opens ``url`` and types ``code``; the PC asks every ``interval_s`` with ``secret``."""

    secret: str
    code: str
    url: str
    expires_at: int
    interval_s: int


class PairToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """``POST /auth/pair/token``."""

    secret: Annotated[str, Meta(min_length=1, max_length=1_024)]


class PairingState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


class Paired(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of a pairing; ``tokens``, and the e-mail address of whose they are, once it is approved."""

    state: PairingState
    tokens: Tokens | None = None
    email: str | None = None


class Device(Struct, frozen=True, kw_only=True, rename="camel"):
    """A PC of the signed-in person; ``is_this`` is the one that asks."""

    device_id: UUID
    name: str
    created_at: int
    last_seen_at: int | None
    revoked_at: int | None
    is_this: bool


class Devices(Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /auth/devices``: those in use first, then by when they were last seen."""

    devices: list[Device]


class Authors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """``PUT /sync/authors``: the author keys that are the signed-in person."""

    authors: Annotated[list[AuthorKey], Meta(max_length=100)]


class AskDeletion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """``POST /account/deletion``: the signed-in person wants to be deleted, and says so with the password."""

    password: Annotated[str, Meta(min_length=1, max_length=1_024)]


class Deletion(Struct, frozen=True, kw_only=True, rename="camel"):
    """``due_at`` is when it is carried out unless it is withdrawn, in Unix milliseconds."""

    due_at: int


class _Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", tag_field="key"):
    """Base of a change of a setting that a person's PCs have in common.

    ``changed_at`` is in Unix milliseconds UTC, 0 for long ago; the ``value`` None lets it be as it comes.
    """

    changed_at: Millis

    @property
    def key(self) -> str:
        return str(self.__struct_config__.tag)


class SyncInterval(_Change, frozen=True, tag="syncInterval"):
    value: Annotated[int, Meta(ge=10, le=86_400)] | None


class SyncModeChange(_Change, frozen=True, tag="syncMode"):
    value: Literal["auto", "live", "batch"] | None


class SyncOnStart(_Change, frozen=True, tag="syncOnStart"):
    value: bool | None


class SyncDownload(_Change, frozen=True, tag="syncDownload"):
    value: bool | None


class AlertQueue(_Change, frozen=True, tag="alertQueue"):
    value: Annotated[int, Meta(ge=1, le=10_000_000)] | None


class AlertFailureRate(_Change, frozen=True, tag="alertFailureRate"):
    value: Annotated[float, Meta(gt=0, le=1)] | None


class AlertOffline(_Change, frozen=True, tag="alertOffline"):
    value: Annotated[int, Meta(ge=60, le=2_592_000)] | None


SettingChange = (
    SyncInterval | SyncModeChange | SyncOnStart | SyncDownload | AlertQueue | AlertFailureRate | AlertOffline
)
"""Nothing that would have another PC send more, or elsewhere, than was chosen on it."""
SHARED_SETTINGS: Final = tuple(str(change.__struct_config__.tag) for change in SettingChange.__args__)


class ChangeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``PUT /sync/settings``: what was changed on the PC that says so."""

    settings: Annotated[list[SettingChange], Meta(max_length=100)]


class AskSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /sync/settings``: the version that is known already."""

    known: Annotated[str, Meta(max_length=64)] = ""


class SharedSetting(Struct, frozen=True, kw_only=True, rename="camel"):
    """A value, and by which PC and when it was chosen. A newer server may know more keys."""

    key: str
    value: bool | int | float | str | None
    changed_at: Millis
    device_id: UUID
    device_name: str


class SharedSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The winning changes, by key; ``settings`` is null if ``version`` is the one that was known."""

    version: Annotated[str, Meta(max_length=64)]
    settings: list[SharedSetting] | None


class Project(Struct, frozen=True, kw_only=True, rename="camel"):
    project_id: UUID
    name: str


class Projects(Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /sync/projects``: where the signed-in person may send events."""

    projects: list[Project]


class Health(Struct, frozen=True, kw_only=True):
    """``GET /healthz``: the server answers, and its database has answered it."""

    status: Literal["ok"] = "ok"


class AskUpdates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /sync/updates``: a cursor as the server gave it, none to begin."""

    since: Annotated[str, Meta(max_length=60)] = ""


class AskOwnEvents(AskUpdates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /sync/events``."""

    limit: Annotated[int, Meta(ge=1, le=MAX_BATCH_EVENTS)] = MAX_BATCH_EVENTS


class AskTrace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /sync/events/ID``: the event's time, which leads to it."""

    timestamp: Millis


class AskDigests(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of ``GET /sync/projects/ID/digests``: days since 1970, ``until`` not among them."""

    start: Annotated[int, Meta(ge=0, le=MAX_TIMESTAMP_MS // DAY_MS)] = msgspec.field(name="from")
    until: Annotated[int, Meta(ge=1, le=MAX_TIMESTAMP_MS // DAY_MS + MAX_DIGEST_DAYS)]


class Tally(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many events of a UTC day one side has, and the XOR of their ids in hex.

    ``day`` counts from 1970. Events that any clone can report (``FACTS``) stand apart from those
    that only the device itself saw. Ids are random or cut from SHA-256, so two sets that differ
    have one XOR by a chance of 2^-122; an id is in a set once, so none cancels itself.
    """

    day: int
    are_facts: bool
    count: int
    digest: str


class Digests(Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /sync/projects/ID/digests?from=DAY&until=DAY``: what the server has of those days.

    Only events from ``since`` on (Unix milliseconds) are counted: older ones are no longer kept.
    """

    since: Millis
    tallies: list[Tally]


class EventName(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event by what it is found by."""

    id: EventId
    timestamp: Millis


class AskMissing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /sync/projects/ID/missing``: which of these the server does not have, and would take."""

    events: Annotated[list[EventName], Meta(max_length=MAX_BATCH_EVENTS)]


class Missing(Struct, frozen=True, kw_only=True):
    ids: list[EventId]


class Updates(Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /sync/updates?since=CURSOR``: whether the person's other PCs have sent anything since.

    ``last_sync_timestamp`` is when any of them last sent, null for never. ``cursor`` is ``since``,
    or a first one.
    """

    has_updates: bool
    last_sync_timestamp: int | None
    cursor: str


class EventState(StrEnum):
    """What the server can still say of a stored event; unless it is whole its data is null."""

    WHOLE = "whole"
    ERASED = "erased"
    DAMAGED = "damaged"


class OwnEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """A ``SyncEvent`` as it came from another PC of the person's, and when."""

    id: EventId
    timestamp: Millis
    device_id: UUID
    user_id: UUID
    project_id: UUID
    local_id: LocalId
    event_type: EventType
    event_data: Raw
    state: EventState
    received_at: int


class OwnEvents(Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /sync/events?since=CURSOR&limit=N``; ``cursor`` is where to go on, at once if ``has_more``."""

    events: list[OwnEvent]
    server_timestamp: int
    cursor: str
    has_more: bool


class Counted(StrEnum):
    """For whom an event counts; what is nobody's counts for its project alone."""

    YOU = "you"
    SOMEBODY_ELSE = "somebody else"
    NOBODY = "nobody"


class Trace(Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /sync/events/ID?timestamp=MS``: what the server has of it.

    The last four are null where a colleague's PC reported it first.
    """

    id: EventId
    timestamp: Millis
    project_id: UUID
    event_type: EventType
    state: EventState
    counted: Counted
    device_id: UUID | None
    local_id: int | None
    received_at: int | None
    seq: int | None


class Problem(Struct, frozen=True, kw_only=True):
    """An error body, ``application/problem+json`` (RFC 9457); ``code`` is for programs to decide by.

    By ``request_id`` the server's operator finds the request in the log.
    """

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    code: str | UnsetType = UNSET
    request_id: str | UnsetType = msgspec.field(name="requestId", default=UNSET)


class StreamBatch(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """A batch as it goes over the stream; ``number`` is larger than that of the one before.

    ``sent_at`` is the time on the PC's clock, as an upload says it in ``Date``; ``batch`` what is its body;
    ``report`` what it says in ``REPORT_HEADER``, None in most messages: it has not changed much.
    """

    number: Annotated[int, Meta(ge=1, le=MAX_TIMESTAMP_MS)]
    sent_at: Millis
    batch: Raw
    report: str | None = None


class StreamAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an upload of that batch is answered: the status, and as ``body`` a result or a problem.

    ``sent_at`` is the time on the server's clock, ``retry_after`` what the header of that name says.
    """

    number: int
    status: int
    sent_at: int
    retry_after: str | None
    body: Raw


class StreamEnd(IntEnum):
    """Why the server closes a stream: codes of RFC 6455, 7.4, and the last one of our own."""

    STOPPING = 1001
    BROKEN = 1002
    NOT_TEXT = 1003
    NOT_JSON = 1007
    MISUSED = 1008
    TOO_BIG = 1009
    SILENT = 1011
    UNAUTHORIZED = 4401


class Received(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", tag_field="eventType"
):
    """One event of a batch after every check that needs no database: a ``SyncEvent`` taken apart.

    There is a subclass for each event type, so one pass of the decoder checks all of it. Ids stay
    text, which compares far faster than ``UUID``.
    """

    id: str
    timestamp: Millis
    device_id: str
    user_id: str
    project_id: str
    local_id: LocalId
    event_data: EventData


class _Checked(Received, frozen=True, kw_only=True, rename="camel", tag_field="eventType"):
    """The same with its ids, whose patterns take twice as long as all the rest."""

    id: EventId
    device_id: PublicId
    user_id: PublicId
    project_id: PublicId


def _decoder(base: type[Received]) -> msgspec.json.Decoder[Received]:
    """Of ``base`` with each kind of data."""
    kinds = tuple(
        defstruct(
            f"{base.__name__}{data.__name__}",
            [("event_data", data)],
            bases=(base,),
            module=__name__,
            tag=str(kind),
            frozen=True,
            kw_only=True,
            forbid_unknown_fields=True,
            rename="camel",
        )
        for kind, data in DATA.items()
    )
    return msgspec.json.Decoder(Union[kinds])  # noqa: UP007 - made, not written


_ID_LENGTH: Final = 36
_ID_DIGITS: Final = 32
_ID_PLACES: Final = {8: {"-"}, 13: {"-"}, 18: {"-"}, 23: {"-"}, 14: {"4"}, 19: set("89ab")}
_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
# An array that holds its first events and one more, and passes over the rest: as a list the millions
# of `0,` that fit into a body would take 300 MB before anybody could count them.
_First: Final = msgspec.defstruct(
    "_First", [(f"_{n}", Raw, UNSET) for n in range(MAX_BATCH_EVENTS + 1)], array_like=True, frozen=True
)
_batch: Final = msgspec.json.Decoder(
    msgspec.defstruct(
        "Batch", [("events", _First), ("device_id", UUID)], rename="camel", forbid_unknown_fields=True
    )
)
_event: Final = _decoder(Received)
_checked_event: Final = _decoder(_Checked)
_PUBLIC_ID: Final = re.compile(_PUBLIC)
# JSON may carry a NUL, PostgreSQL text may not. After an odd backslash more it is a name's own text.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def encode(message: Struct) -> bytes:
    """JSON in UTF-8; for an event's data these are its canonical bytes."""
    return _encoder.encode(message)


def decode(body: bytes, expected: type[_T]) -> _T:
    """Raise Invalid with the path of the first wrong field and what was expected there."""
    try:
        return msgspec.json.decode(body, type=expected)
    except _MALFORMED as error:
        raise Invalid(_said(error)) from error


def decode_batch(body: bytes) -> Batch:
    """The envelope only; its events are still raw. Raise Invalid if it is not a batch at all."""
    try:
        batch: Any = _batch.decode(body)
    except _MALFORMED as error:
        raise Invalid(_said(error)) from error
    events = [event for event in msgspec.structs.astuple(batch.events) if event is not UNSET]
    if len(events) > MAX_BATCH_EVENTS:
        raise Invalid(f"expected at most {MAX_BATCH_EVENTS} events a batch, got more")
    return Batch(events=events, device_id=batch.device_id)


def receive(raw: Raw) -> Received:
    """One event of a batch, fully checked; raise Invalid saying what was expected and what came."""
    if len(raw) > MAX_EVENT_BYTES:
        raise Invalid(f"expected at most {MAX_EVENT_BYTES} bytes an event, got {len(raw)}")
    try:
        event = _checked_event.decode(raw)
        data_json = _encoder.encode(event.event_data)
    except _MALFORMED as error:
        raise Invalid(_said(error)) from error
    if _holds_nul(data_json):
        raise Invalid("expected text without the NUL character - at `$.eventData`")
    return event


def receive_all(raws: Sequence[Raw]) -> list[Received] | None:
    """What ``receive`` gives for each, in a quarter of the time; None if it would refuse one of them."""
    if max(map(len, raws), default=0) > MAX_EVENT_BYTES:
        return None
    decode, encode = _event.decode, _encoder.encode
    try:
        events = [decode(raw) for raw in raws]
        data_json = b"".join([encode(event.event_data) for event in events])
    except _MALFORMED:
        return None
    if not _are_event_ids([event.id for event in events]) or _holds_nul(data_json):
        return None
    named = {(event.device_id, event.user_id, event.project_id) for event in events}
    return events if all(map(_PUBLIC_ID.fullmatch, chain.from_iterable(named))) else None


def _holds_nul(data_json: bytes) -> bool:
    return b"\\u0000" in data_json and _NUL.search(data_json) is not None


def _are_event_ids(ids: Sequence[str]) -> bool:
    """Whether all match the pattern of ``EventId``: a few looks at all of them, place by place."""
    joined = "".join(ids)
    digits = joined.replace("-", "")
    if {len(each) for each in ids} - {_ID_LENGTH} or len(digits) != len(ids) * _ID_DIGITS:
        return False
    return set(digits) <= set("0123456789abcdef") and all(
        set(joined[place::_ID_LENGTH]) <= allowed for place, allowed in _ID_PLACES.items()
    )


def binary_ids(events: Sequence[Received]) -> list[bytes]:
    """The 16 bytes of each id."""
    joined = bytes.fromhex("".join([event.id for event in events]).replace("-", ""))
    return [joined[start : start + 16] for start in range(0, len(joined), 16)]


def _said(error: Exception) -> str:
    return "expected JSON that is nested less deeply" if isinstance(error, RecursionError) else str(error)


def claimed_id(raw: Raw) -> str:
    """The id an event that ``receive`` refused goes by, or "" if it has none that can be read."""
    try:
        return msgspec.json.decode(raw, type=_IdOnly).id
    except _MALFORMED:
        return ""


def claimed_time(raw: Raw) -> int | None:
    """The time of an event that nobody has looked at yet, None if it has none that ``receive`` would take."""
    try:
        return msgspec.json.decode(raw, type=_TimeOnly).timestamp
    except _MALFORMED:
        return None


def clock(now_ms: int) -> str:
    """A time as ``CLOCK_HEADER`` says it, to the second."""
    return format_datetime(datetime.fromtimestamp(now_ms // 1_000, UTC), usegmt=True)


def clock_ahead(said: str | None, now_ms: int) -> int | None:
    """How far the clock of who ``said`` its time is ahead of ours, in milliseconds; behind is negative.

    In whole minutes, so that it stays the same from one upload to the next; 0 within
    ``CLOCK_TOLERANCE_MS``, which is longer than a request is on its way, None if no time was said.
    """
    try:
        at_ms = round(parsedate_to_datetime(said or "").timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
    ahead = at_ms - now_ms
    return 0 if abs(ahead) < CLOCK_TOLERANCE_MS else round(ahead / 60_000) * 60_000


Milliseconds = Annotated[int, Meta(ge=0, le=DAY_MS)]


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How sync is doing on a PC, and how it is set up there: whole numbers only, None for unknown.

    ``queue`` is how many events wait beside those of the upload; ``success`` how many of a thousand
    attempts worked, ``latency`` their average in milliseconds; ``interval`` is in seconds, ``batch``
    the most events of an upload, ``start`` 1 if it syncs when it starts, ``version`` the agent's
    (``version_number``).
    """

    queue: Count | None = None
    success: Annotated[int, Meta(ge=0, le=1_000)] | None = None
    latency: Milliseconds | None = None
    interval: Annotated[int, Meta(ge=1, le=DAY_MS // 1_000)] | None = None
    batch: Annotated[int, Meta(ge=1, le=MAX_BATCH_EVENTS)] | None = None
    start: Annotated[int, Meta(ge=0, le=1)] | None = None
    version: Annotated[int, Meta(ge=0, lt=1_000**3)] | None = None


def version_number(version: str) -> int:
    """A release such as 1.20.3 as 1020003: by size in the order of releases."""
    major, minor, patch = map(int, version.split("."))
    return (major * 1_000 + minor) * 1_000 + patch


def version_text(number: int) -> str:
    """The release that ``version_number`` made the number of."""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def report_header(report: Report) -> str:
    """A report as ``REPORT_HEADER`` says it: ``queue=12, success=987``. Unknown numbers are left out."""
    known = msgspec.to_builtins(report)
    return ", ".join(f"{name}={value}" for name, value in known.items())


def read_report(header: str | None) -> Report:
    """What a header says. What is no number or out of its bounds is unknown, other names are ignored."""
    found = dict(_REPORTED.findall((header or "")[:MAX_REPORT]))
    return Report(
        **{name: value for name in Report.__struct_fields__ if (value := _number(name, found)) is not None}
    )


def _number(name: str, found: dict[str, str]) -> int | None:
    try:
        one = msgspec.convert({name: int(found[name])}, Report)
    except (KeyError, msgspec.ValidationError):
        return None
    number: int | None = getattr(one, name)
    return number


_REPORTED: Final = re.compile(r"(?:^|,)[ ]*([a-z]{1,20})=([0-9]{1,15})[ ]*(?=,|$)", re.ASCII)


class _IdOnly(Struct):
    id: Annotated[str, Meta(max_length=64)]


class _TimeOnly(Struct):
    timestamp: Millis


def fact_id(kind: EventType, *parts: str) -> UUID:
    """The id of a fact that every clone of a repository knows, as a UUID v4.

    The same commit seen on two PCs, or imported twice, is one event: its id is drawn from its
    hash instead of chance. SHA-256 of the parts, cut to the 122 free bits.
    """
    digest = hashlib.sha256("\x00".join((kind, *parts)).encode()).digest()
    return UUID(bytes=digest[:16], version=4)


def author_key(email: str) -> str:
    """Who wrote a commit, without saying it: 16 bytes of SHA-256 of the e-mail address, in hex.

    A server can recognise the addresses its people gave it; those of strangers stay unknown to it.
    """
    return hashlib.sha256(email.strip().lower().encode(errors="surrogateescape")).hexdigest()[:32]


_NAMES_AUTHOR: Final = frozenset({Commit, Merge, CommitFiles, TagCreated})


def author_of(data: EventData) -> str | None:
    """The author key an event names, ``None`` where it names nobody."""
    return data.author if isinstance(data, Commit | Merge | CommitFiles | TagCreated) else None


def names_author(data: EventData) -> bool:
    """True for what somebody else may have done; all other events are the device owner's own acts."""
    return type(data) in _NAMES_AUTHOR


FACTS: Final = frozenset(
    kind for kind, data in DATA.items() if data in (Commit, Merge, CommitFiles, TagCreated)
)
"""Events whose id is ``fact_id``: whichever device reports one first, it is the same for all."""


def tallies(events: Iterable[tuple[int, bool, bytes]]) -> list[Tally]:
    """Of events as (day, whether it is a fact, id), each id once."""
    counts: dict[tuple[int, bool], int] = {}
    digests: dict[tuple[int, bool], int] = {}
    for day, is_fact, event_id in events:
        key = day, is_fact
        counts[key] = counts.get(key, 0) + 1
        digests[key] = digests.get(key, 0) ^ int.from_bytes(event_id)
    return [
        Tally(day=day, are_facts=are_facts, count=count, digest=f"{digests[day, are_facts]:032x}")
        for (day, are_facts), count in sorted(counts.items())
    ]


def paths_of(data: EventData) -> list[str]:
    """The files an event says were changed; a renamed file counts under its new name."""
    match data:
        case FileSaved(path=path) | FileCreated(path=path) | FileDeleted(path=path) | FileRenamed(path=path):
            return [path]
        case Commit(files=files) | CommitFiles(files=files):
            return [change.path for change in files]
        case _:
            return []


def lines_of(data: EventData) -> tuple[int, int]:
    """Lines added and deleted; a merge, and a further part of a commit, have none of their own."""
    return (data.insertions, data.deletions) if isinstance(data, Commit) else (0, 0)
