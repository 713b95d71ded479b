"""The stream, at a real server: as uploads in every word, and shut to all that abuses it."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import requests
from sqlalchemy import func, select
from websockets.exceptions import ConnectionClosed, InvalidStatus
from werkzeug.exceptions import ServiceUnavailable

from devflow import wire
from devflow.accounts import devices
from devflow.db import Database
from devflow.errors import Invalid, Limited
from devflow.models import Device, Event
from devflow.web.api import live
from devflow.wire import StreamEnd
from tests import build, malformed
from tests.browsing import Team
from tests.offered import Offer, offering
from tests.streaming import (
    BINARY,
    CLOSE,
    PONG,
    TIMEOUT_S,
    Raw,
    Refused,
    ask,
    closed,
    frame,
    handshake,
    message,
    streaming,
)
from tests.visitor import within

SEED: Final = 7
QUICK: Final = "--worker-class=tests.quick_worker.Worker"


@pytest.fixture(scope="module")
def offer(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offer]:
    """A server whose pings come quickly, and one who may send to it."""
    folder = tmp_path_factory.mktemp("stream")
    file = folder / "devflow.db"
    file.write_bytes(sqlite_template.read_bytes())
    with offering(f"sqlite:///{file}", folder / "data", GUNICORN_CMD_ARGS=QUICK) as offer:
        yield offer


def stored(offer: Offer) -> int:
    database = Database(offer.server.database_url)
    with database.reading() as session:
        found = session.scalar(select(func.count()).select_from(Event)) or 0
    database.close()
    return found


def good(offer: Offer) -> bytes:
    return malformed.good(offer.sender, random.Random())


def upload(offer: Offer, content: bytes) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {offer.sender.token}", "Content-Type": "application/json"}
    answer = requests.post(f"{offer.server.url}/sync/events", data=content, headers=headers, timeout=30)
    return answer.status_code, answer.json()


# As uploads


def test_a_batch_is_stored_and_answered_as_an_upload_is(offer: Offer) -> None:
    before = stored(offer)
    with streaming(offer) as stream:
        batch = good(offer)
        first = ask(stream, 1, batch)
        assert first["number"] == 1 and first["status"] == 200 and first["retryAfter"] is None
        assert abs(first["sentAt"] - time.time() * 1_000) < 60_000
        assert (200, first["body"]) == upload(offer, batch), "acknowledged again"
        assert ask(stream, 9, batch)["body"] == first["body"]
    assert stored(offer) == before + 1


def test_whatever_is_wrong_has_the_verdict_that_an_upload_has(offer: Offer) -> None:
    before, compared = stored(offer), 0
    number = 0
    for body in malformed.bodies(offer.sender, SEED, 216):
        if body.headers or not is_value(body.content) or len(body.content) > 60_000:
            continue
        number += 1
        with streaming(offer) as stream:
            said = ask(stream, number, body.content)
        status, told = upload(offer, body.content)
        assert (said["status"], without_id(said["body"])) == (status, without_id(told)), body.name
        compared += 1
    assert compared > 60
    assert stored(offer) == before


def is_value(content: bytes) -> bool:
    """Whether it can stand as a value in other JSON."""
    try:
        wire.decode(message(1, content.decode().encode()), wire.StreamBatch)
    except (UnicodeDecodeError, Invalid):
        return False
    return True


def without_id(told: Any) -> Any:
    return {key: value for key, value in told.items() if key != "requestId"}


def test_several_batches_on_their_way_are_answered_each_by_its_number(offer: Offer) -> None:
    with streaming(offer) as stream:
        for number in range(1, wire.STREAM_WINDOW + 1):
            stream.send(message(number, good(offer)), text=True)
        answers = [json.loads(stream.recv(TIMEOUT_S)) for _ in range(wire.STREAM_WINDOW)]
    assert [answer["number"] for answer in answers] == [*range(1, wire.STREAM_WINDOW + 1)]
    assert all(answer["body"]["success"] for answer in answers)


def test_the_clock_of_a_pc_is_noted_as_from_an_upload(offer: Offer) -> None:
    with streaming(offer) as stream:
        batch = good(offer).decode()
        stream.send(f'{{"number":1,"sentAt":{build.NOW_MS - 86_400_000 * 400},"batch":{batch}}}')
        assert json.loads(stream.recv(TIMEOUT_S))["status"] == 200
    database = Database(offer.server.database_url)
    with database.reading() as session:
        device = session.scalars(select(Device).filter_by(public_id=offer.sender.device)).one()
        assert device.clock_skew_ms is not None and device.clock_skew_ms < -86_400_000
    database.close()


def reported(offer: Offer) -> wire.Report | None:
    """What the owner is shown that the PC said last."""
    database = Database(offer.server.database_url)
    with database.reading() as session:
        device = session.scalars(select(Device).filter_by(public_id=offer.sender.device)).one()
        said = devices.reported(device)
    database.close()
    return said


def test_how_sync_is_doing_comes_with_a_batch_as_with_an_upload(offer: Offer) -> None:
    said = "queue=12, success=987, latency=45, interval=300, batch=500, start=0"
    known = wire.Report(queue=12, success=987, latency=45, interval=300, batch=500, start=0)
    with streaming(offer) as stream:
        assert ask(stream, 1, good(offer), report=said)["status"] == 200
        assert reported(offer) == known
        assert ask(stream, 2, good(offer))["status"] == 200
        assert ask(stream, 3, good(offer), report=None)["status"] == 200
        assert reported(offer) == known, "who says nothing changes nothing"


HOSTILE_REPORTS: Final = {
    "of another shape": "what?",
    "empty": "",
    "long": "queue=1," * 5_000,
    "with a header behind it": "queue=1\r\nAuthorization: Bearer x\r\n\r\n",
    "with what no header takes": "queue=\u0661\u0662, \U0001f4a3, \x00",
    "out of bounds": "queue=-1, success=1001, latency=1e9, interval=0, batch=9999, start=7",
    "huge": "queue=" + "9" * 60_000,
    "as markup": "queue=<script>alert(1)</script>",
}


@pytest.mark.parametrize("name", HOSTILE_REPORTS)
def test_whatever_stands_in_a_report_refuses_no_event_and_is_kept_as_numbers_alone(
    offer: Offer, name: str
) -> None:
    before = stored(offer)
    with streaming(offer) as stream:
        ask(stream, 1, good(offer), report="queue=3")
        assert ask(stream, 2, good(offer), report=HOSTILE_REPORTS[name])["status"] == 200
        assert ask(stream, 3, good(offer))["status"] == 200, "the stream goes on"
    assert stored(offer) == before + 3
    assert reported(offer) in (None, wire.Report(queue=1)), "of a number in front the rest may be cut off"


@pytest.mark.parametrize("report", [7, True, ["queue=1"], {"queue": 1}, "\ud800"])
def test_a_report_that_is_no_text_is_no_message(offer: Offer, report: Any) -> None:
    before = stored(offer)
    with streaming(offer) as stream:
        stream.send(message(1, good(offer), report=report), text=True)
        assert closed(stream)[0] == StreamEnd.NOT_JSON
    assert stored(offer) == before


def test_pace_is_one_for_both_ways(sqlite_template: Path, tmp_path: Path) -> None:
    file = tmp_path / "devflow.db"
    file.write_bytes(sqlite_template.read_bytes())
    slow = {"DEVFLOW_MAX_UPLOADS_PER_HOUR": "3"}
    with offering(f"sqlite:///{file}", tmp_path / "data", **slow) as offer, streaming(offer) as stream:
        assert [ask(stream, number, good(offer))["status"] for number in (1, 2)] == [200, 200]
        assert upload(offer, good(offer))[0] == 200
        sent_away = ask(stream, 3, good(offer))
        assert sent_away["status"] == 429 and 0 < int(sent_away["retryAfter"]) <= 3_600
        assert "more than 3 uploads of one device an hour" in sent_away["body"]["detail"]
        assert stored(offer) == 3


# Opening


def test_the_handshake_names_the_server_and_offers_no_compression(offer: Offer) -> None:
    raw = Raw(offer)
    head = raw.head.lower()
    named = requests.get(f"{offer.server.url}/healthz", timeout=10).headers
    assert f"devflow-server: {named[wire.SERVER_HEADER]}".encode() in head
    assert f"devflow-epoch: {named[wire.EPOCH_HEADER]}".encode() in head
    assert b"sec-websocket-extensions" not in head
    raw.send(frame(b"\x03\xe8", CLOSE))
    assert raw.end() == 1000


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer x.y.z"}, 401),
        ({"Sec-WebSocket-Version": "12"}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "close", "Upgrade": ""}, 426),
        ({"DevFlow-Protocol": "2"}, 426),
        ({"protocol": "HTTP/1.0"}, 426),
    ],
)
def test_what_is_no_handshake_of_somebody_known_opens_nothing(
    offer: Offer, headers: dict[str, str], status: int
) -> None:
    assert offer.server.port is not None
    with socket.create_connection(("127.0.0.1", offer.server.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(handshake(offer, **headers))
        answer = connection.recv(65_536)
    assert answer.split()[1] == b"%d" % status, answer
    assert b"application/problem+json" in answer and b"DevFlow-Server" in answer


def test_a_token_without_a_device_opens_nothing(offer: Offer) -> None:
    login = {"email": "bob@example.org", "password": build.PASSWORD}
    token = requests.post(f"{offer.server.url}/auth/login", json=login, timeout=30).json()["token"]
    with pytest.raises(InvalidStatus) as refused, streaming(offer, token):
        pass
    assert refused.value.response.status_code == 401


def test_streams_leave_threads_to_requests_and_one_device_leaves_streams_to_others() -> None:
    streams = live.Streams()
    one = uuid4()
    leave = [streams.take_place(one) for _ in range(live.OF_ONE_DEVICE)]
    with pytest.raises(Limited):
        streams.take_place(one)
    leave += [streams.take_place(uuid4()) for _ in range(live.MOST - live.OF_ONE_DEVICE)]
    with pytest.raises(ServiceUnavailable) as full:
        streams.take_place(uuid4())
    assert int(dict(full.value.get_headers())["Retry-After"]) > 0
    leave.pop()()
    streams.take_place(uuid4())
    threads = int(
        next(
            line.split("=")[1].split("#")[0]
            for line in (Path(__file__).parents[2] / "gunicorn.conf.py").read_text().splitlines()
            if line.startswith("threads = ")
        )
    )
    assert threads - 128 >= live.MOST


def test_one_device_has_a_few_places_and_gets_them_back(offer: Offer) -> None:
    open_ones = [Raw(offer) for _ in range(live.OF_ONE_DEVICE)]
    with pytest.raises(InvalidStatus) as refused, streaming(offer):
        pass
    response = refused.value.response
    assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (429, True)
    for raw in open_ones:
        raw.socket.close()
    within(10, lambda: opens(offer))


def opens(offer: Offer) -> bool:
    try:
        with streaming(offer):
            return True
    except InvalidStatus:
        return False


# Abuse

TOO_LONG: Final = frame(b"x" * 1_000, fin=False) + frame(b"x" * 1_000, 0, fin=False) * 80
HOSTILE: Final[dict[str, tuple[bytes, int]]] = {
    "binary": (frame(b"{}", BINARY), StreamEnd.NOT_TEXT),
    "binary in fragments": (frame(b"{", BINARY, fin=False) + frame(b"}", 0), StreamEnd.NOT_TEXT),
    "a frame of a terabyte": (frame(b"x", length=1 << 40), StreamEnd.TOO_BIG),
    "a frame a byte too large": (frame(b"x", length=wire.MAX_FRAME_BYTES + 1), StreamEnd.TOO_BIG),
    "fragments that are too large together": (TOO_LONG, StreamEnd.TOO_BIG),
    "not UTF-8": (frame(message(1, b'"\xff"')), StreamEnd.NOT_JSON),
    "half a character": (frame(message(1, b'"\xed\xa0\x80"')), StreamEnd.NOT_JSON),
    "not JSON": (frame(b"hello"), StreamEnd.NOT_JSON),
    "nothing": (frame(b""), StreamEnd.NOT_JSON),
    "JSON of another kind": (frame(b"[1]"), StreamEnd.NOT_JSON),
    "deep JSON": (frame(b"[" * 60_000), StreamEnd.NOT_JSON),
    "a deep batch": (frame(message(1, b"[" * 30_000 + b"]" * 30_000)), StreamEnd.NOT_JSON),
    "no number": (frame(b'{"sentAt":1,"batch":{}}'), StreamEnd.NOT_JSON),
    "a number below 1": (frame(message(0, b"{}")), StreamEnd.NOT_JSON),
    "a number that is too large": (frame(message(1 << 80, b"{}")), StreamEnd.NOT_JSON),
    "a field more": (frame(b'{"number":1,"sentAt":1,"batch":{},"more":1}'), StreamEnd.NOT_JSON),
    "a number used again": (frame(message(5, b"{}")) + frame(message(5, b"{}")), StreamEnd.MISUSED),
    "a number that goes back": (frame(message(5, b"{}")) + frame(message(4, b"{}")), StreamEnd.MISUSED),
    "no mask": (bytes([0x81, 2]) + b"{}", StreamEnd.BROKEN),
    "a reserved bit": (bytes([0xC1, 0x80]) + bytes(4), StreamEnd.BROKEN),
    "an opcode that nobody has": (frame(b"", 3), StreamEnd.BROKEN),
    "a ping that is too large": (frame(b"x" * 126, 9), StreamEnd.BROKEN),
    "a ping in fragments": (frame(b"x", 9, fin=False), StreamEnd.BROKEN),
    "a fragment of nothing": (frame(b"x", 0), StreamEnd.BROKEN),
    "a message in a message": (frame(b"{", fin=False) + frame(b"{}"), StreamEnd.BROKEN),
    "a close of one byte": (frame(b"x", CLOSE), StreamEnd.BROKEN),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", StreamEnd.BROKEN),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_frame_ends_the_stream_with_a_word_and_stores_nothing(offer: Offer, name: str) -> None:
    content, code = HOSTILE[name]
    before = stored(offer)
    raw = Raw(offer)
    raw.send(content)
    assert raw.end() == code
    assert stored(offer) == before


def test_a_flood_of_hostile_frames_takes_no_memory_and_no_stream_from_others(offer: Offer) -> None:
    """Also such as are not wrong in themselves: endless empty fragments, and pings and pongs in thousands."""
    endless = [
        frame(b"{", fin=False) + frame(b"", 0, fin=False) * 20_000,
        frame(b"", 9) * 5_000,
        frame(b"", PONG) * 20_000,
    ]

    def flood(_round: int) -> None:
        for content, _ in HOSTILE.values():
            within(10, lambda: try_raw(offer, content))  # noqa: B023

    for content in endless:
        assert try_raw(offer, content)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(flood, range(3)))
        before = offer.server.memory_mib()
        list(pool.map(flood, range(12)))
    assert offer.server.memory_mib() - before < 20
    with streaming(offer) as stream:
        assert ask(stream, 1, good(offer))["status"] == 200


def try_raw(offer: Offer, content: bytes) -> bool:
    """Whether there was a place for it."""
    try:
        raw = Raw(offer)
    except Refused:
        return False
    try:
        raw.socket.sendall(content)
        raw.socket.settimeout(0.2)
        raw.socket.recv(65_536)
    except OSError:
        pass  # nothing to say yet, or closed already
    raw.socket.close()
    return True


# The end


def test_who_answers_no_ping_is_dead_after_two(offer: Offer) -> None:
    raw = Raw(offer)
    began = time.monotonic()
    assert raw.end() == StreamEnd.SILENT
    assert time.monotonic() - began < 10


def test_who_answers_pings_stays(offer: Offer) -> None:
    with streaming(offer) as stream:
        time.sleep(2.5)  # five pings of this server
        assert ask(stream, 1, good(offer))["status"] == 200


def revoke_beside(offer: Offer) -> None:
    """As another process of the server does it, of which this one hears nothing."""
    database = Database(offer.server.database_url)
    with database.writing() as session:
        session.scalars(select(Device).filter_by(public_id=offer.sender.device)).one().revoked_at = 1
    database.close()


def revoke(offer: Offer) -> None:
    address = f"{offer.server.url}/auth/devices/{offer.sender.device}/revoke"
    bearer = {"Authorization": f"Bearer {offer.sender.token}"}
    assert requests.post(address, json={}, headers=bearer, timeout=30).status_code == 204


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("is_idle", [False, True])
def test_a_device_that_another_process_revokes_is_shut_out_at_its_next_batch_or_ping(
    database_url: str, tmp_path: Path, is_idle: bool
) -> None:
    pinging = {"GUNICORN_CMD_ARGS": QUICK} if is_idle else {}
    with offering(database_url, tmp_path / "data", **pinging) as offer:
        with streaming(offer) as stream:
            assert ask(stream, 1, good(offer))["status"] == 200
            revoke_beside(offer)
            if not is_idle:
                assert ask(stream, 2, good(offer))["status"] == 401
            assert closed(stream)[0] == StreamEnd.UNAUTHORIZED
        assert stored(offer) == 1
        assert not opens(offer)


def log_out(offer: Offer) -> None:
    bearer = {"Authorization": f"Bearer {offer.sender.token}"}
    assert requests.post(f"{offer.server.url}/auth/logout", json={}, headers=bearer, timeout=30).ok


def log_in_again(offer: Offer) -> None:
    form = {"email": "bob@example.org", "password": build.PASSWORD, "deviceId": str(offer.sender.device)}
    assert requests.post(f"{offer.server.url}/auth/login", json=form, timeout=30).ok


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("end", [revoke, log_out, log_in_again])
def test_what_the_server_itself_ends_closes_an_idle_stream_at_once_and_no_other(
    database_url: str, tmp_path: Path, end: Callable[[Offer], None]
) -> None:
    with offering(database_url, tmp_path / "data") as offer:  # whose pings take 20 s
        other = another_device(offer)
        with streaming(offer) as idle, streaming(offer) as too, streaming(offer, other) as others:
            began = time.monotonic()
            end(offer)
            assert closed(idle)[0] == closed(too)[0] == StreamEnd.UNAUTHORIZED
            assert time.monotonic() - began < 5
            assert ask(others, 1, b"{}")["status"] == 400, "it goes on"


def another_device(offer: Offer) -> str:
    """A token of another PC of the same person."""
    form = {"email": "bob@example.org", "password": build.PASSWORD, "deviceId": str(uuid4())}
    token: str = requests.post(f"{offer.server.url}/auth/login", json=form, timeout=30).json()["token"]
    return token


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_server_that_is_asked_to_end_says_goodbye_to_streams_in_time(
    database_url: str, tmp_path: Path
) -> None:
    with (
        offering(database_url, tmp_path / "data") as offer,
        streaming(offer) as idle,
        streaming(offer) as busy,
    ):
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send_until_closed, offer, busy)
            began = time.monotonic()
            assert offer.server.stop() == 0
            took_s = time.monotonic() - began
        assert closed(idle) == (StreamEnd.STOPPING, "the server is stopping")
        answered, code = sending.result()
        assert code == StreamEnd.STOPPING
        assert took_s < 5, "within the grace time"
        assert stored(offer) == answered, "each was answered that was stored"
        offer.server.start()


def send_until_closed(offer: Offer, stream: Any) -> tuple[int, int]:
    """How many batches were answered, and the code that ended it."""
    number = 0
    while True:
        try:
            ask(stream, number + 1, good(offer))
        except ConnectionClosed as error:
            assert error.rcvd is not None
            return number, error.rcvd.code
        number += 1


def test_a_door_without_room_says_so(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST", 0)
    token = (
        team.app.test_client()
        .post(
            "/auth/login",
            json={"email": "bob@example.org", "password": build.PASSWORD, "deviceId": str(uuid4())},
        )
        .get_json()["token"]
    )
    headers = {
        "Authorization": f"Bearer {token}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        "Sec-WebSocket-Version": "13",
    }
    connection = {"gunicorn.socket": None}
    answer = team.app.test_client().get("/sync/stream", headers=headers, environ_overrides=connection)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
