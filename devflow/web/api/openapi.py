"""``/openapi.json``: all doors of the API in OpenAPI 3.1, read off the doors and the types themselves."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from flask import Flask, Response, current_app, request
from msgspec import Struct
from werkzeug.routing import Rule

import devflow
from devflow import access, wire
from devflow.access import Action
from devflow.web import guard
from devflow.web.api import bp
from devflow.web.api.operation import CSV, JSON, Operation, operation
from devflow.web.security import ANY_HOST

Schema = dict[str, Any]
EXTENSION: Final = "devflow_openapi"
PROBLEM: Final = "application/problem+json"
_ARGUMENT: Final = re.compile(r"<uuid:(\w+)>")
_CODE: Final = re.compile(r"``([^`]+)``")
_JSON: Final = {"None": "null", "True": "true", "False": "false"}
_INTRODUCTION: Final = f"""\
What agents and other programs ask of a DevFlow Monitor server, in version {wire.PROTOCOL} of the protocol.
Times are Unix milliseconds UTC. An integer is written without a fraction. Every answer names the
server in `{wire.SERVER_HEADER}`. Errors are `{PROBLEM}` (RFC 9457)."""
# What every door may answer, or every one of a kind; a door's own words take their place.
_WHY: Final[Mapping[int, str]] = {
    400: "The body is not what is expected here; `detail` names the first wrong field.",
    401: "No access token, or one that is not good any more: refresh it, or log in.",
    404: "There is no such thing, or it is not yours to know of.",
    408: "The body ended before the length that was promised: send it again.",
    411: "No Content-Length; chunks are not taken.",
    413: "The body is larger than is taken here, as sent or inflated.",
    415: "The body is no JSON, or is encoded otherwise than said here.",
    421: "The server has another name than the one it was asked by.",
    426: "The server speaks another version of the protocol than the agent.",
    429: "Too many tries: wait as long as `Retry-After` says.",
    500: "A fault of the server: keep everything, and come again.",
    503: "No room, or the database is away: keep everything, and come again as `Retry-After` says.",
}
_RETRY: Final[Schema] = {
    "Retry-After": {
        "description": "In seconds.",
        "schema": {"type": "integer", "minimum": 0},
        "required": True,
    },
}
_HEADERS: Final[Mapping[int, Schema]] = {
    401: {
        "WWW-Authenticate": {"schema": {"const": "Bearer"}, "required": True},
    },
    429: _RETRY,
    503: _RETRY,
}
SWITCHING: Final = 101
"""The answer of a door behind which no HTTP is spoken."""
_SERVER: Final[Schema] = {
    "description": "The server's own id: what another server says settles nothing.",
    "schema": {"type": "string", "format": "uuid"},
    "required": True,
}
_BEARER: Final[Schema] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "An access token, as `/auth/login`, `/auth/refresh` and `/auth/pair/token` give it.",
}
_PARAMETERS: Final[Mapping[str, Schema]] = {
    "Protocol": {
        "name": wire.PROTOCOL_HEADER,
        "in": "header",
        "description": "The version of the protocol that an agent speaks; other programs need not say.",
        "schema": {"const": str(wire.PROTOCOL)},
    },
    "Encoding": {
        "name": "Content-Encoding",
        "in": "header",
        "description": "How the body is sent.",
        "schema": {"enum": ["gzip", "identity"], "default": "identity"},
    },
    "Report": {
        "name": wire.REPORT_HEADER,
        "in": "header",
        "description": "How sync is doing on the PC: whole numbers under the names queue, success, latency, "
        "interval, batch, start and version; nothing in it refuses an upload.",
        "schema": {"type": "string", "examples": ["queue=12, success=987, latency=45"]},
    },
    "Tag": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of an answer that is had already.",
        "schema": {"type": "string"},
    },
}
_TAG: Final[Schema] = {"ETag": {"schema": {"type": "string"}, "required": True}}


def init_app(app: Flask) -> None:
    """Look at all doors, once they are hung; raise RuntimeError naming those without a description."""
    doors = _doors(app)
    # Written for the first who asks: it takes a third of what it takes to make the app.
    app.extensions[EXTENSION] = functools.cache(
        lambda: msgspec.json.format(msgspec.json.encode(_document(doors)), indent=1)
    )


@bp.get("/openapi.json")
@guard.public("it describes the program, and nothing of who uses it")
@operation("This document")
def openapi() -> Response:
    """With an `ETag`, to ask for it again by `If-None-Match`."""
    body: bytes = current_app.extensions[EXTENSION]()
    response = Response(body, content_type=JSON)
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response


def document(app: Flask) -> Schema:
    """All doors of the API, in the order of their addresses."""
    return _document(_doors(app))


def _doors(app: Flask) -> list[_Door]:
    doors = [
        _Door(rule.rule, method, app.view_functions[rule.endpoint], rule.endpoint)
        for rule, method in _rules(app)
    ]
    if bare := [f"{door.method} {door.rule}" for door in doors if door.told is None]:
        raise RuntimeError("expected every route of the API to be an operation; " + ", ".join(bare))
    return doors


def _document(doors: Sequence[_Door]) -> Schema:
    paths: dict[str, Schema] = {}
    for door in doors:
        paths.setdefault(door.path, {})[door.method.lower()] = _described(door, door.operation)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "DevFlow Monitor",
            "version": devflow.__version__,
            "description": _INTRODUCTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas([door.operation for door in doors]),
            "responses": {f"Problem{status}": _problem(status, why) for status, why in _WHY.items()},
            "parameters": dict(_PARAMETERS),
            "headers": {"Server": _SERVER},
            "securitySchemes": {"bearer": _BEARER},
        },
    }


def _rules(app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.endpoint.startswith(f"{bp.name}."):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method


@dataclass(frozen=True, slots=True)
class _Door:
    """A route of the API; what it needs is written on its view, by ``guard`` and by ``operation``."""

    rule: str
    method: str
    view: Any
    endpoint: str

    @property
    def told(self) -> Operation | None:
        return getattr(self.view, "operation", None)

    @property
    def operation(self) -> Operation:
        return cast(Operation, self.view.operation)

    @property
    def action(self) -> Action | None:
        """What has to be allowed; None for a door that is open to everybody."""
        return getattr(self.view, "action", None)

    @property
    def arguments(self) -> list[str]:
        return _ARGUMENT.findall(self.rule)

    @property
    def path(self) -> str:
        return _ARGUMENT.sub(lambda found: f"{{{_camel(found[1])}}}", self.rule)

    def statuses(self) -> set[int]:
        """The errors that it may answer, beside its own."""
        found = {426, 500, 503}
        if self.endpoint not in ANY_HOST:
            found |= {421}
        if self.operation.body is not None:
            found |= {400, 408, 411, 413, 415}
        if self.operation.query is not None:
            found |= {400}
        if self.action is not None:
            found |= {401}
            found |= {404} if self.action.scope in access.SCOPES else set()
        return found


def _described(door: _Door, told: Operation) -> Schema:
    described: Schema = {
        "operationId": door.endpoint.removeprefix(f"{bp.name}."),
        "tags": [door.rule.split("/")[1]],
        "summary": told.summary,
        "description": "\n\n".join(filter(None, (_prose(told.description), _who(door)))),
        "parameters": _parameters(door, told),
        "responses": {str(told.status): _success(told)} | _failures(door, told),
    }
    if told.is_table:
        described["responses"]["304"] = {
            "description": "It is as it was when it had this tag.",
            "headers": _named(_TAG),
        }
    if told.body is not None:
        described["requestBody"] = _body(told.body, told.limit)
    if door.action is None:
        described["security"] = []
    return described


def _who(door: _Door) -> str:
    if door.action is None:
        return f"Open to everybody: {door.view.public}."
    return f"Needs the right `{door.action}`."


def _parameters(door: _Door, told: Operation) -> list[Schema]:
    path = [
        {
            "name": _camel(name),
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        }
        for name in door.arguments
    ]
    query = [] if told.query is None else [_asked(field) for field in msgspec.structs.fields(told.query)]
    headers = ["Protocol"] if told.body is None else ["Protocol", "Encoding"]
    headers += ["Report"] if told.body is wire.Batch else []
    headers += ["Tag"] if told.is_table else []
    return [*path, *query, *({"$ref": f"#/components/parameters/{name}"} for name in headers)]


def _asked(field: msgspec.structs.FieldInfo) -> Schema:
    """A parameter of the query."""
    schema = msgspec.json.schema(field.type)
    if not field.required:
        schema["default"] = field.default
    return {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema}


def _body(body: type[Struct], limit: int) -> Schema:
    sent = min(limit, wire.MAX_BODY_BYTES)
    return {
        "description": f"At most {sent} bytes as sent and {limit} inflated; with a `Content-Length`.",
        "required": True,
        "content": {JSON: {"schema": _ref(body.__name__)}},
    }


def _success(told: Operation) -> Schema:
    if told.answer is None:
        return {"description": "It is done.", "headers": _named({})}
    if told.status == SWITCHING:
        return {"description": told.summary, "headers": _named({})}
    is_own = told.answer is Response
    schema = {"type": "object"} if is_own else _ref(told.answer.__name__)
    table: Schema = {CSV: {"schema": {"type": "string"}}} if told.is_table else {}
    return {
        "description": _prose(told.answer.__doc__ or "") if not is_own else told.summary,
        "headers": _named(_TAG if is_own or told.is_table else {}),
        "content": {JSON: {"schema": schema}, **table},
    }


def _failures(door: _Door, told: Operation) -> Schema:
    """The errors by status: those of its own in full, the others by their name."""
    return {
        str(status): _problem(status, told.refusals[status], told.codes.get(status, ()))
        if status in told.refusals
        else {"$ref": f"#/components/responses/Problem{status}"}
        for status in sorted(door.statuses() | set(told.refusals))
    }


def _problem(status: int, why: str, codes: Sequence[str] = ()) -> Schema:
    properties: Schema = {"status": {"const": status}}
    if codes:
        properties["code"] = {"enum": list(codes)}
    return {
        "description": why,
        "headers": _named(_HEADERS.get(status, {})),
        "content": {PROBLEM: {"schema": {"allOf": [_ref("Problem"), {"properties": properties}]}}},
    }


def _named(headers: Schema) -> Schema:
    """The headers of an answer, with the one that names the server."""
    return {wire.SERVER_HEADER: {"$ref": "#/components/headers/Server"}, **headers}


def _schemas(operations: Sequence[Operation]) -> Schema:
    """The types of all bodies and answers, and of what they hold, by name."""
    types: set[Any] = {wire.Problem, wire.SyncEvent, *wire.DATA.values()}
    for each in operations:
        types |= {each.body, each.answer} - {None, Response}
    _, found = msgspec.json.schema_components(
        sorted(types, key=lambda kind: kind.__name__), ref_template="#/components/schemas/{name}"
    )
    for schema in found.values():
        if "description" in schema:
            schema["description"] = _prose(schema["description"])
    return dict(sorted((found | _events(found)).items()))


def _events(found: Mapping[str, Schema]) -> Schema:
    """What the types leave raw, to judge each event alone: what a batch and its events hold."""
    base, batch = found["SyncEvent"], found["Batch"]
    names = {kind: f"{data.__name__}Event" for kind, data in wire.DATA.items()}
    one = {
        names[kind]: {
            **base,
            "title": names[kind],
            "properties": {
                **base["properties"],
                "eventType": {"const": str(kind)},
                "eventData": _ref(data.__name__),
            },
        }
        for kind, data in wire.DATA.items()
    }
    union: Schema = {
        "title": "SyncEvent",
        "description": f"{base['description']} At most {wire.MAX_EVENT_BYTES} bytes; no text with a NUL.",
        "oneOf": [_ref(name) for name in names.values()],
        "discriminator": {
            "propertyName": "eventType",
            "mapping": {str(kind): _ref(name)["$ref"] for kind, name in names.items()},
        },
    }
    events = {"type": "array", "items": _ref("SyncEvent"), "maxItems": wire.MAX_BATCH_EVENTS}
    whole = {**batch, "properties": {**batch["properties"], "events": events}}
    return {**one, "SyncEvent": union, "Batch": whole}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _prose(docstring: str) -> str:
    """A docstring as Markdown, whose names are those of JSON."""
    return _CODE.sub(lambda found: f"`{_camel(_JSON.get(found[1], found[1]))}`", inspect.cleandoc(docstring))


def _camel(name: str) -> str:
    return re.sub(r"(?<=[a-z])_([a-z])", lambda found: found[1].upper(), name)
