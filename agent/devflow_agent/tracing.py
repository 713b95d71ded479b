"""Where one event is: what this PC recorded of it, what was tried, what the server has, and what to do.

Nothing is changed. The server is asked by the event's id and time, and only where it may know
both already: while sync is on, for events of linked projects and for ids that are not of this PC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

import requests

from devflow import wire
from devflow.errors import DevflowError, Invalid, NotFound, Offline, Unauthorized
from devflow_agent import outbox
from devflow_agent.analyse import refusals, waiting
from devflow_agent.analyse.refusals import Refusal
from devflow_agent.analyse.waiting import Why
from devflow_agent.config import Home, iso
from devflow_agent.outbox import Attempt, Record
from devflow_agent.remote import Remote
from devflow_agent.settings import Settings
from devflow_agent.store import Level, Project, Store

SHOWN_ATTEMPTS: Final = 5


class Answer(StrEnum):
    """What the server said, or why it said nothing."""

    THERE = "there"
    LOST = "lost"
    """It would take the event, so it does not have it."""
    ABSENT = "absent"
    """It has none that it would tell us of, and would not take it either: it is too old, or not ours."""
    NOT_ASKED = "not asked"
    UNREACHABLE = "unreachable"
    REFUSED_US = "signed out"


@dataclass(frozen=True, slots=True)
class OnServer:
    answer: Answer
    detail: str = ""
    trace: wire.Trace | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """``cause`` is stable, for scripts; the other two are for people."""

    cause: str
    says: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Traced:
    event_id: UUID
    record: Record | None
    project: Project | None
    attempts: list[Attempt]
    on_server: OnServer
    advice: Advice


def trace(
    home: Home,
    store: Store,
    http: requests.Session,
    event_id: UUID,
    now_ms: int,
    *,
    at_ms: int | None = None,
) -> Traced:
    """Look at an event; ``at_ms`` is its time, needed to ask the server for one that is not of this PC."""
    record = outbox.record(store, event_id)
    project = None if record is None else _project(store, record)
    general = waiting.general_reason(home, store, Settings.load(store), now_ms)
    name = wire.EventName(id=str(event_id), timestamp=at_ms or 0) if record is None else _name(record)
    if (why_not := _why_not_asked(general, record, project, at_ms)) is not None:
        on_server = OnServer(Answer.NOT_ASKED, why_not)
    else:
        on_server = _answer(lambda: _asked(Remote(home.credentials, http), name, project))
    return Traced(
        event_id=event_id,
        record=record,
        project=project,
        attempts=[] if record is None else outbox.attempts_with(store, record.event.local_id, SHOWN_ATTEMPTS),
        on_server=on_server,
        advice=_advice(store, record, project, on_server, general, now_ms),
    )


def _project(store: Store, record: Record) -> Project | None:
    return next((one for one in store.projects() if one.id == record.event.project_id), None)


def _name(record: Record) -> wire.EventName:
    return wire.EventName(id=str(record.event.id), timestamp=record.event.timestamp_ms)


def _why_not_asked(
    general: Why, record: Record | None, project: Project | None, at_ms: int | None
) -> str | None:
    if general in (Why.DAMAGED, Why.NO_SERVER, Why.SIGNED_OUT):
        return str(general)
    if general == Why.OFF:
        return "sync is off: not even an event's id leaves this PC"
    if project is not None and project.level is Level.OFF:
        return "its project shares nothing: not even an event's id leaves this PC"
    if record is None:
        return (
            "an event that is not of this PC is found by its time, too: --at TIME" if at_ms is None else None
        )
    return "its project is not linked" if project is None or project.remote_id is None else None


def _answer(ask: Callable[[], OnServer]) -> OnServer:
    try:
        return ask()
    except Unauthorized as error:
        return OnServer(Answer.REFUSED_US, str(error))
    except (Offline, Invalid) as error:
        return OnServer(Answer.UNREACHABLE, str(error))


def _asked(remote: Remote, name: wire.EventName, project: Project | None) -> OnServer:
    try:
        return OnServer(Answer.THERE, trace=remote.trace(name))
    except NotFound as error:
        if project is None or project.remote_id is None:
            return OnServer(Answer.ABSENT, str(error))
    try:
        is_missing = remote.missing(project.remote_id, wire.AskMissing(events=[name])) == [name.id]
    except DevflowError as error:
        return OnServer(Answer.ABSENT, str(error))
    return OnServer(Answer.LOST if is_missing else Answer.ABSENT)


def _advice(
    store: Store,
    record: Record | None,
    project: Project | None,
    on_server: OnServer,
    general: Why,
    now_ms: int,
) -> Advice:
    if record is None:
        return _of_stranger(on_server, store.device_id())
    refusal = refusals.of(record)
    if record.event.sync_status == "failed" and refusal is not None:
        return _of_refused(refusal)
    if record.event.sync_status == "synced":
        return _of_synced(store, on_server)
    return _of_pending(store, project, refusal, on_server, general, now_ms)


def _of_stranger(on_server: OnServer, this_pc: UUID) -> Advice:
    """An id that this PC has no record of."""
    found = on_server.trace
    match on_server.answer:
        case Answer.THERE if found is not None and found.device_id == this_pc:
            return Advice(
                "forgotten here",
                "this PC sent it, and no longer has it in its store",
                "nothing: the server has it",
            )
        case Answer.THERE if found is not None and found.device_id is not None:
            return Advice(
                "another PC",
                f"another PC of yours recorded it: {found.device_id}",
                "trace it there; `devflow sync devices` names it",
            )
        case Answer.THERE:
            return Advice("somebody else's PC", "a colleague's PC reported it", "nothing: it is counted once")
        case Answer.ABSENT | Answer.LOST:
            return Advice(
                "unknown",
                "neither this PC nor the server knows an event of yours by this id at that time",
                "check the id and the time, and the other PC if it was recorded on one",
            )
        case _:
            return Advice(
                "unknown here",
                f"this PC never recorded it, and the server was no help ({on_server.detail})",
                "check the id; `devflow sync test` checks the way to the server",
            )


def _of_refused(refusal: Refusal) -> Advice:
    code = refusal.code or "refused"
    step = refusal.step.replace("retry ID", f"retry {refusal.record.event.id}")
    return Advice(f"refused: {code}", f"the server refused it for good: {refusal.reason}", step)


def _of_synced(store: Store, on_server: OnServer) -> Advice:
    match on_server.answer:
        case Answer.THERE:
            return _of_stored(on_server.trace)
        case Answer.LOST:
            return Advice(
                "lost by the server",
                "the server confirmed it and no longer has it: was a backup restored?",
                f"nothing: `devflow watch` compares every day and sends it again, {_next_comparison(store)}",
            )
        case Answer.ABSENT:
            return Advice(
                "no longer kept",
                "the server confirmed it and no longer has it, and would not take it again: it is too old",
                "nothing: it stays on this PC, and what was counted stays counted",
            )
        case Answer.REFUSED_US:
            return Advice(
                "signed out",
                f"the server confirmed it; now {on_server.detail}",
                waiting.STEPS[Why.SIGNED_OUT],
            )
        case Answer.UNREACHABLE:
            return Advice(
                "not verified",
                f"the server confirmed it; whether it still has it is unknown: {on_server.detail}",
                "`devflow sync test` checks the way to the server",
            )
        case Answer.NOT_ASKED:
            return Advice(
                "not verified",
                f"the server confirmed it, and was not asked now: {on_server.detail}",
                "nothing",
            )


def _of_stored(found: wire.Trace | None) -> Advice:
    if found is not None and found.state == wire.EventState.DAMAGED:
        return Advice(
            "damaged on the server",
            "the server has it and can no longer read it",
            "tell the server's operator, and keep this PC's store: it may be the only copy",
        )
    if found is not None and found.state == wire.EventState.ERASED:
        return Advice("erased on the server", "the server deleted what was in it, as asked", "nothing")
    return Advice("synced", "the server has it", "nothing")


def _next_comparison(store: Store) -> str:
    from devflow_agent import comparing

    last = outbox.compared(store)
    return "with the next push" if last is None else f"after {iso(last[1] + comparing.EVERY_MS)}"


def _of_pending(
    store: Store,
    project: Project | None,
    refusal: Refusal | None,
    on_server: OnServer,
    general: Why,
    now_ms: int,
) -> Advice:
    if on_server.answer == Answer.THERE:
        return Advice(
            "answer lost",
            "the server has it already, and its answer did not arrive",
            "nothing: the next push settles it",
        )
    if on_server.answer == Answer.REFUSED_US:
        return Advice("signed out", on_server.detail, waiting.STEPS[Why.SIGNED_OUT])
    if on_server.answer == Answer.UNREACHABLE:
        return Advice(
            "unreachable",
            on_server.detail,
            "nothing is lost: it is sent when the server answers; `devflow sync test`",
        )
    why = general if project is None else waiting.of_project(project, general, is_refused=refusal is not None)
    if why == Why.REFUSED and refusal is not None:
        return Advice(
            f"refused for now: {refusal.code or 'unknown'}",
            f"the server did not take it yet: {refusal.reason}",
            refusal.step,
        )
    if why == Why.BACK_OFF and (pause := outbox.pause(store, now_ms)) is not None:
        return Advice(
            "back-off",
            f"the server is left alone until {iso(pause.until_ms)}: {pause.why}",
            waiting.STEPS[why],
        )
    return Advice(str(why), _SAID[why], waiting.STEPS[why])


_SAID: Final = {
    Why.HELD: "its project shares nothing (`devflow sync share`), so it is held back here",
    Why.DAMAGED: "the credentials cannot be read",
    Why.NO_SERVER: "this PC reports to no server",
    Why.SIGNED_OUT: "nobody is signed in",
    Why.NOT_LINKED: "its project is not linked to one of the server",
    Why.OFF: "sync is off",
    Why.BACK_OFF: "the server is left alone for a while",
    Why.NOBODY_SENDS: "no `devflow watch` runs that would send it",
    Why.REFUSED: "the server did not take it yet",
    Why.DUE: "it is about to be sent",
}
