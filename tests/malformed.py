"""A corpus of uploads that are wrong in every way we could think of, drawn from a seed.

No one of them may be taken: it is answered 4xx, or each of its events is refused. The bodies are
sent as proper requests; what is wrong with ``packets`` is the very HTTP, so they are sent as they are.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final
from uuid import UUID, uuid4

from devflow import wire
from tests import build


@dataclass(frozen=True, slots=True)
class Sender:
    """A PC that may send, to a project that it may send to."""

    token: str
    person: UUID
    device: UUID
    project: UUID


@dataclass(frozen=True, slots=True)
class Body:
    """A body, and the headers that come with it beside those of every upload."""

    name: str
    content: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Packet:
    """What is sent over a connection, which is shut for writing then."""

    name: str
    content: bytes


DATA: Final = (
    build.saved(),
    wire.FileRenamed(path="a", old_path="b"),
    wire.FileDeleted(path="a"),
    build.commit(build.STRANGER, "a.py", "b.py"),
    build.merge(),
    build.more_files(build.STRANGER, "a.py"),
    wire.BranchCreated(branch="main", sha="a" * 40),
    wire.TagCreated(tag="v1", sha="a" * 40, author=build.STRANGER),
)
# JSON that is right in none of the places where an event has something.
NUMBERS: Final = (
    *("-1", "-0", "-0.0", "0.5", "1e999", "-1e999", "1E400", "NaN", "Infinity", "-Infinity", "0x10", "1_000"),
    *(
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "9" * 400,
        "9223372036854775808",
        "18446744073709551616",
        "1.0",
        "1e-999",
    ),
)
TEXTS: Final = (
    r'"\u0000"',
    r'"a\u0000b"',
    r'"\ud800"',
    r'"\udfff\ud800"',
    r'"\uDEAD x"',
    '"\x00"',
    '"\n"',
    '"\x1f"',
    r'"\x41"',
    r'"\u12"',
    '"' + "x" * 4_097 + '"',
    '"' + "\N{PILE OF POO}" * 9_000 + '"',
    '"unfinished',
    "'single'",
    '""',
)
OTHERS: Final = (
    "true",
    "[]",
    "{}",
    "[null]",
    '{"a":{}}',
    "",
    "undefined",
    "None",
    "// no\n1",
    "nul",
    "[",
    "}",
)
DEEP: Final = ("[" * 600 + "]" * 600, "[" * 5_000, '{"a":' * 3_000 + "1" + "}" * 3_000, "[" * 30_000)
LITERALS: Final = NUMBERS + TEXTS + OTHERS + DEEP
_HEAD: Final = "POST /sync/events HTTP/1.1"


def bodies(sender: Sender, seed: int, count: int) -> Iterator[Body]:
    """So many of them, of each kind about as many."""
    chance = random.Random(seed)
    return (make(sender, chance) for make in islice(cycle(_BODIES), count))


def packets(sender: Sender, seed: int, count: int) -> Iterator[Packet]:
    chance = random.Random(seed)
    return (make(sender, chance) for make in islice(cycle(_PACKETS), count))


def event(sender: Sender, chance: random.Random) -> dict[str, str]:
    """An event that would be taken, each of its fields as JSON."""
    data = chance.choice(DATA)
    fields = {
        "id": uuid4(),
        "timestamp": build.NOW_MS,
        "deviceId": sender.device,
        "userId": sender.person,
        "projectId": sender.project,
        "localId": 1,
        "eventType": wire.TYPE_OF[type(data)],
    }
    written = {name: json.dumps(value, default=str) for name, value in fields.items()}
    return written | {"eventData": wire.encode(data).decode()}


def batch(sender: Sender, *events: str) -> str:
    return f'{{"events":[{",".join(events)}],"deviceId":"{sender.device}"}}'


def good(sender: Sender, chance: random.Random) -> bytes:
    """A body that would be taken."""
    return batch(sender, joined(event(sender, chance))).encode()


def joined(fields: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def _plain(name: str, content: bytes | str) -> Body:
    return Body(name, content if isinstance(content, bytes) else content.encode(), {})


def _gzip(name: str, content: bytes) -> Body:
    return Body(name, content, {"Content-Encoding": "gzip"})


def _field(sender: Sender, chance: random.Random) -> Body:
    """One field of an event is wrong."""
    fields = event(sender, chance)
    name, wrong = chance.choice(list(fields)), chance.choice(LITERALS)
    return _plain(f"{name} {wrong[:20]!r}", batch(sender, joined(fields | {name: wrong})))


def _data(sender: Sender, chance: random.Random) -> Body:
    """One field of an event's data is wrong, missing or unknown."""
    fields = event(sender, chance)
    data = {name: json.dumps(value) for name, value in json.loads(fields["eventData"]).items()}
    name, wrong = chance.choice(list(data)), chance.choice(LITERALS)
    match chance.randrange(4):
        case 0:
            del data[name]
        case 1:
            data["content"] = '"a line of code"'
        case _:
            # An empty list of files, and no lines (-0 is 0), would be right.
            data[name] = "7.5" if wrong in ("[]", "-0") else wrong
    return _plain(f"data {name} {wrong[:20]!r}", batch(sender, joined(fields | {"eventData": joined(data)})))


def _keys(sender: Sender, chance: random.Random) -> Body:
    """A field is missing, unknown, or there twice, wrong the second time."""
    fields = event(sender, chance)
    name = chance.choice(list(fields))
    match chance.randrange(3):
        case 0:
            del fields[name]
            return _plain(f"no {name}", batch(sender, joined(fields)))
        case 1:
            return _plain("unknown field", batch(sender, joined(fields | {"x": chance.choice(LITERALS)})))
        case _:
            twice = joined(fields)[:-1] + f',"{name}":{chance.choice(("-1", "[]", "null", "{}"))}}}'
            return _plain(f"{name} twice", batch(sender, twice))


def _envelope(sender: Sender, chance: random.Random) -> Body:
    wrong, good = chance.choice((*NUMBERS, *TEXTS, *OTHERS[2:], *DEEP)), joined(event(sender, chance))
    choices = (
        f'{{"events":{wrong},"deviceId":"{sender.device}"}}',
        f'{{"events":[{good}],"deviceId":{wrong}}}',
        f'{{"events":[{good}],"deviceId":"{uuid4()}"}}',
        f'{{"events":[{good}],"deviceId":"{sender.device}","x":{wrong}}}',
        f'{{"events":[{good}]}}',
        f"[{good}]",
        batch(sender, good) + wrong if wrong.strip() else "\ufeff" + batch(sender, good),
        wrong,
    )
    return _plain("envelope", chance.choice(choices))


def _many(sender: Sender, chance: random.Random) -> Body:
    match chance.randrange(5):
        case 0:
            content = batch(sender, *["0"] * 1_001)
        case 1:
            content = batch(sender, *["{}"] * 400_000)
        case 2:
            content = batch(sender, *["0"] * chance.randrange(10_000, 4_000_000))
        case 3:
            return _gzip("a large event", gzip.compress(_huge(sender, chance).encode(), 1))
        case _:
            content = batch(sender, *(joined(event(sender, chance) | {"localId": "0"}) for _ in range(50)))
    return _gzip("many", gzip.compress(content.encode(), 1))


def _huge(sender: Sender, chance: random.Random) -> str:
    fields = event(sender, chance) | {"eventType": '"file.saved"'}
    path = chance.choice(("x", r"\u00e9", "\N{PILE OF POO}")) * chance.randrange(40_000, 400_000)
    return batch(sender, joined(fields | {"eventData": f'{{"path":"{path}","sizeBytes":1}}'}))


def _text(sender: Sender, chance: random.Random) -> Body:
    """Broken or in another encoding."""
    whole = batch(sender, joined(event(sender, chance)))
    place = chance.randrange(1, len(whole))
    match chance.randrange(5):
        case 0:
            return _plain("cut", whole[:place])
        case 1:
            bad = chance.choice(
                (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\x00")
            )
            return _plain("bad UTF-8", whole[:place].encode() + bad + whole[place:].encode())
        case 2:
            return _plain("encoding", whole.encode(chance.choice(("utf-16", "utf-32", "utf-8-sig", "cp500"))))
        case 3:
            return _plain("noise", chance.randbytes(chance.randrange(1, 5_000)))
        case _:
            return _plain("something after", whole + chance.choice(("x", "{}", "]", "\x00", whole)))


def _packed(sender: Sender, chance: random.Random) -> Body:
    """Compressed badly."""
    plain = good(sender, chance)
    whole = gzip.compress(plain)
    place = chance.randrange(10, len(whole))  # behind the head, parts of which mean nothing
    flipped = bytearray(whole)
    flipped[place] ^= 1 << chance.randrange(8)
    choices = (
        whole[: chance.randrange(1, len(whole))],
        bytes(flipped),
        whole + whole,
        whole + chance.randbytes(9),
        zlib.compress(plain),
        plain,
        gzip.compress(whole),
        gzip.compress(b" " * chance.randrange(wire.MAX_INFLATED_BYTES + 1, 20 << 20), 1),
        gzip.compress(b'{"events":[' + b"[" * chance.randrange(10_000, 8_000_000), 1),
    )
    return _gzip("packed", chance.choice(choices))


def _headers(sender: Sender, chance: random.Random) -> Body:
    """A good body under a wrong name."""
    plain = good(sender, chance)
    name, value = chance.choice(
        (
            *(
                ("Content-Encoding", coding)
                for coding in ("br", "zstd", "deflate", "gzip, gzip", "gzip,identity", "x", "chunked", "*")
            ),
            *(
                ("Content-Type", kind)
                for kind in (
                    "text/plain",
                    "application/json+x",
                    "application/x-www-form-urlencoded",
                    "",
                    "\xff",
                )
            ),
            ("DevFlow-Protocol", "2"),
            ("DevFlow-Protocol", "x" * 500),
        )
    )
    return Body(f"{name}: {value[:20]}", plain, {name: value})


_BODIES: Final[tuple[Callable[[Sender, random.Random], Body], ...]] = (
    *(_field, _field, _data, _data, _keys, _envelope),
    *(_text, _text, _packed, _headers, _field, _data),
    *(_keys, _envelope, _text, _headers, _field, _many),
)


def _request(sender: Sender, *lines: str, body: bytes = b"", line: str = _HEAD, end: str = "\r\n") -> bytes:
    given = (line, "Host: x", "Content-Type: application/json", f"Authorization: Bearer {sender.token}")
    return (end.join((*given, *lines)) + end * 2).encode("latin-1") + body


def _length(sender: Sender, chance: random.Random) -> Packet:
    """A Content-Length that is none, or lies."""
    body = good(sender, chance)
    real = len(body)
    wrong = chance.choice(
        (
            *("-1", "+5", "0x10", "1e3", " ", "5 5", "5, 6", "9" * 30, "\xb2", "five", "1_0"),
            *(str(real + more) for more in (1, 100, 10_000)),
            *(str(real - less) for less in (1, 2, 100)),
            "0",
        )
    )
    return Packet(f"length {wrong[:10]} of {real}", _request(sender, f"Content-Length: {wrong}", body=body))


def _smuggling(sender: Sender, chance: random.Random) -> Packet:
    """Two readers would see two different requests in it."""
    body = good(sender, chance)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    length, te = f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"
    lines = chance.choice(
        (
            (length, te),
            (te, "Content-Length: 4"),
            (te, te),
            (length, "Content-Length: 1"),
            ("Transfer-Encoding : chunked", length),
            ("Transfer-Encoding: xchunked",),
            ("Transfer-Encoding: chunked, identity",),
            ("Transfer-Encoding: identity, chunked", length),
            ("Transfer-Encoding:\x0bchunked", length),
            ("Transfer-Encoding: gzip, chunked",),
            ("X: y\r\n Transfer-Encoding: chunked", length),
            ("X: y\rTransfer-Encoding: chunked", length),
            ("X: y\nTransfer-Encoding: chunked", length),
            ("Content-Length : 1", length),
            ("Content_Length: 1", te),
        )
    )
    return Packet(f"smuggling {lines}", _request(sender, *lines, body=chunked))


def _chunks(sender: Sender, chance: random.Random) -> Packet:
    """Chunks are not taken, whole or broken."""
    body = good(sender, chance)
    broken = chance.choice(
        (
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
            b"%x\r\n%s" % (len(body) + 50, body),
            b"ffffffffffffffff\r\n" + body,
            b"-5\r\n" + body,
            b"5\n" + body,
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5;" + b"x" * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhelloXX0\r\n\r\n",
            b"\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"",
        )
    )
    return Packet("chunks", _request(sender, "Transfer-Encoding: chunked", body=broken))


def _head(sender: Sender, chance: random.Random) -> Packet:
    """A head that is too large or not one."""
    length = "Content-Length: 2"
    choices: tuple[bytes, ...] = (
        _request(sender, length, body=b"{}", end="\n"),
        _request(sender, length, "X: " + "x" * 9_000, body=b"{}"),
        _request(sender, length, *(f"X-{number}: y" for number in range(200)), body=b"{}"),
        _request(sender, length, "X\x00Y: z", body=b"{}"),
        _request(sender, length, "X: a\x00b", body=b"{}"),
        _request(sender, length, ": nameless", body=b"{}"),
        _request(sender, length, "no colon", body=b"{}"),
        _request(sender, length, "Expect: 200-nonsense", body=b"{}"),
        _request(sender, length, body=b"{}", line=f"{_HEAD} more"),
        _request(sender, length, body=b"{}", line="POST /sync/events HTTP/7.3"),
        _request(sender, length, body=b"{}", line="P\x01ST /sync/events HTTP/1.1"),
        _request(sender, length, body=b"{}", line=f"POST /{'x' * 9_000} HTTP/1.1"),
        _request(sender, length, body=b"{}", line="POST http://[ HTTP/1.1"),
        _request(sender, length, body=b"{}", line="POST \\sync\\events HTTP/1.1"),
        b"POST /sync/events\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(300),
        chance.randbytes(chance.randrange(1, 3_000)),
        b"\r\n" * 2_000,
        b"x" * 20_000,
    )
    return Packet("head", chance.choice(choices))


def _pipeline(sender: Sender, chance: random.Random) -> Packet:
    """Several requests at once, and something after them."""
    wrong = b'{"events":7}'
    one = _request(sender, f"Content-Length: {len(wrong)}", body=wrong)
    tail = chance.choice((b"", b"x", b"GET", one[: chance.randrange(1, len(one))], b"\x00" * 50))
    return Packet("pipeline", one * chance.randrange(1, 6) + tail)


_PACKETS: Final[tuple[Callable[[Sender, random.Random], Packet], ...]] = (
    _length,
    _smuggling,
    _chunks,
    _head,
    _pipeline,
)
