"""A program that knows the API from its document alone, and asks whatever the document lets it ask."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from uuid import UUID, uuid4

import msgspec
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis import APIOperation, Case, Config, GenerationMode, Response
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow import wire
from devflow.accounts import devices, erasure, pairing, tokens
from devflow.audit import Actor
from devflow.config import Settings
from devflow.context import Context
from devflow.models import Device, Person, Project, Role
from tests import build
from tests.build import Member, World
from tests.clock import Clock

T = TypeVar("T")
Document = dict[str, Any]
Operation = APIOperation[Any, Any, Any, Any]
OK: Final = 200
DAY_S: Final = 86_400
STRANGER_EVERY: Final = 8
"""Of so many requests one comes without a token."""
REJECTED: Final = [400, 401, 404, 411, 413, 415, 426, 429]
CHECKS: Final[list[CheckFunction]] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def operations(app: Flask) -> list[Operation]:
    """All that the document of this app tells of."""
    checks = {"negative_data_rejection": {"expected-statuses": REJECTED}}
    config = Config.from_dict({"seed": 1, "checks": checks})
    api = schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)
    api.location = None  # else the address of the document itself would be left out
    return [cast(Any, found).ok() for found in api.get_all_operations()]


def name_of(operation: Operation) -> str:
    return cast(str, operation.definition.raw["operationId"])


@dataclass
class Program:
    """Bob's, on Bob's PC, once a day: so nothing has been asked too often, unless it is at once.

    ``answered`` counts with which statuses each operation has answered.
    """

    context: Context
    clock: Clock
    member: Member
    project_id: UUID
    team_id: UUID
    event: Draft202012Validator
    answered: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def settled(cls, prepared: Settings, document: Document) -> Program:
        """In a workspace that has no people yet."""
        clock = Clock()
        context = Context.open(prepared, clock)
        world = World.of(context)
        bob = world.person("Bob")
        event = {"$ref": "#/components/schemas/SyncEvent", "components": document["components"]}
        project_id = world.project("atlas", bob).public_id
        team_id = world.team("red", {bob: Role.LEAD}).public_id
        return cls(context, clock, bob, project_id, team_id, Draft202012Validator(event))

    def try_all(self, app: Flask, examples: int) -> set[str]:
        """Try every operation; return the names of those that never did what was asked."""
        without_success = set()
        for operation in operations(app):
            for mode in GenerationMode:
                self.try_out(operation, mode, examples)
            success = min(map(int, operation.definition.raw["responses"]))
            if success not in self.answered[name_of(operation)]:
                without_success.add(name_of(operation))
        return without_success

    def try_out(self, operation: Operation, mode: GenerationMode, examples: int) -> None:
        """Ask so many times what the document allows, or what it does not: the same on each run."""

        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # to make a failing request small takes minutes
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            self.ask(case, is_allowed=mode is GenerationMode.POSITIVE)

        ask()

    def ask(self, case: Case[Any], *, is_allowed: bool) -> None:
        """Send the request; fail if the answer is none that the document promises."""
        self.clock.move(DAY_S)
        name = name_of(case.operation)
        turn = self.answered[name].total()
        body: Any = case.body
        if name == "events":
            self._own_events(body)
        elif is_allowed and turn % 2 == 0:
            self._fill_in(name, body, case)
        if is_allowed and isinstance(body, dict) and case.headers.get("Content-Encoding") == "gzip":
            case.body = gzip.compress(json.dumps(body).encode())
        case.headers["Accept-Encoding"] = "identity"  # by WSGI nobody inflates an answer
        case.headers.pop("Authorization", None)
        if case.operation.definition.raw.get("security") != [] and turn % STRANGER_EVERY != 1:
            case.headers["Authorization"] = f"Bearer {self._tokens().token}"
        response = case.call()
        self.answered[name][response.status_code] += 1
        # Of a batch each event is judged by itself, and a wrong one makes no wrong batch.
        more = () if is_allowed or name == "events" else (negative_data_rejection,)
        case.validate_response(response, checks=[*CHECKS, *more])
        if name == "events" and response.status_code == OK:
            self._compare(body["events"], response, is_allowed=is_allowed)

    def _fill_in(self, name: str, body: Any, case: Case[Any]) -> None:
        """What nobody can guess, in the place of what was guessed."""
        match name:
            case "login":
                body |= {"email": self.member.email, "password": build.PASSWORD}
            case "ask_deletion":
                body |= {"password": build.PASSWORD}
            case "withdraw_deletion":
                self._as_bob(erasure.ask)
            case "refresh":
                body |= {"refreshToken": self._tokens().refresh_token}
            case "paired":
                body |= {"secret": self._as_bob(_paired)}
            case "revoke":
                case.path_parameters["deviceId"] = str(self._as_bob(_another_pc).public_id)
            case "trace":
                sent = self._sent()
                case.path_parameters["eventId"], case.query = sent.id, {"timestamp": sent.timestamp}
            case "project_digests":
                case.path_parameters["projectId"], case.query = str(self.project_id), {"from": 1, "until": 9}
            case "missing" | "project_status":
                case.path_parameters["projectId"] = str(self.project_id)
            case "team_activity":
                case.path_parameters["teamId"], case.query = str(self.team_id), {"until": "2026-11-19"}
            case "aggregate":
                case.query["projectId"] = str(self.project_id)
                case.query.pop("cursor", None)
                if ".." in case.query.get("timeRange", ""):
                    case.query["timeRange"] = "2026-11-01..2026-11-19"
            case "own" | "updates":
                case.query.pop("since", None)

    def _sent(self) -> wire.SyncEvent:
        """An event of Bob's that is stored."""
        world = World.of(self.context)
        with self.context.database.reading() as session:
            project = session.scalars(select(Project).filter_by(public_id=self.project_id)).one()
        event = world.event(self.member, project, build.saved(), self.context.now())
        assert world.send(self.member, event).success
        return event

    def _own_events(self, batch: Any) -> None:
        """Make the ids in a batch those of Bob's, where there are ids."""
        ours = {
            "deviceId": self.member.device_id,
            "userId": self.member.public_id,
            "projectId": self.project_id,
        }
        events = batch.get("events") if isinstance(batch, dict) else None
        for each in [batch, *(events if isinstance(events, list) else [])]:
            if isinstance(each, dict):
                each |= {key: str(value) for key, value in ours.items() if _is_uuid(each.get(key))}

    def _compare(self, events: list[Any], response: Response, *, is_allowed: bool) -> None:
        """Fail unless each event got one answer, and is invalid to the server if it is to the document."""
        result = msgspec.json.decode(response.content, type=wire.BatchResult)
        refused = {refusal.index for refusal in result.errors}
        invalid = {refusal.index for refusal in result.errors if refusal.code == wire.ErrorCode.INVALID}
        for index, event in enumerate(events):
            is_synced = isinstance(event, dict) and event.get("id") in result.synced_ids
            assert is_synced != (index in refused), event
            if not self.event.is_valid(event):
                assert index in invalid, event
            elif is_allowed and not _is_beyond_schema(event):
                assert index not in invalid, (event, result.errors)

    def _tokens(self) -> wire.Tokens:
        return tokens_of(self.context, self.member)

    def _as_bob(self, work: Callable[[Session, Actor], T]) -> T:
        with self.context.database.writing() as session:
            session.expire_on_commit = False
            bob = session.get_one(Person, self.member.id)
            return work(session, Actor(bob, self.context.now(), self.context.vault))


def tokens_of(context: Context, member: Member) -> wire.Tokens:
    """New tokens for the member's PC, which end those that it had."""
    with context.database.writing() as session:
        by = Actor(session.get_one(Person, member.id), context.now(), context.vault)
        return tokens.issue(session, by, by.who(), session.get_one(Device, member.device), context.server_id)


def _paired(session: Session, by: Actor) -> str:
    # From an address of its own: how often one may ask goes by the real clock.
    started = pairing.start(session, by, uuid4(), "a new PC")
    pairing.approve(session, by, started.code)
    return started.secret


def _another_pc(session: Session, by: Actor) -> Device:
    return devices.enrol(session, by, by.who(), uuid4(), "another PC")


def _is_beyond_schema(value: object) -> bool:
    """Whether it holds 1.0, an integer for JSON Schema, or a NUL: that neither is taken is said in words."""
    if isinstance(value, dict):
        return any(map(_is_beyond_schema, value.values()))
    if isinstance(value, list):
        return any(map(_is_beyond_schema, value))
    return isinstance(value, float) or (isinstance(value, str) and "\0" in value)


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False
