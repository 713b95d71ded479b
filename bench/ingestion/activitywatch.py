"""ActivityWatch's server, run as its users do: peewee on SQLite, in a home of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.ingestion import sending
from bench.ingestion.ours import BATCH, Pc, Run
from bench.ingestion.processes import answering, cpu_s
from bench.ingestion.sending import Door
from tests.postgres import free_port

REQUIREMENTS: Final = Path(__file__).with_name("requirements-activitywatch.txt")
_BUCKET: Final = "/api/0/buckets/bench"
_JSON: Final = {"Content-Type": "application/json"}


@contextmanager
def installed() -> Iterator[Path]:
    """The Python of a new environment that has the server, gone in the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS], check=True)
        yield python


def run(python: Path, pc: Pc, batches: int) -> Run:
    """Send what the PC sends, as lists of 1,000 events."""
    bodies = [_body(pc.batch(number)) for number in range(batches + 1)]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        home, port = Path(name).resolve(), free_port()
        environ = {f"XDG_{what}_HOME": str(home / what) for what in ("DATA", "CONFIG", "CACHE", "STATE")}
        command = [str(python), "-m", "aw_server", "--host=127.0.0.1", f"--port={port}", "--storage=peewee"]
        with answering(command, port, home, environ | {"HOME": str(home)}) as pid:
            _create_bucket(port)
            door = Door(port, f"{_BUCKET}/events", _JSON)
            sending.send(door, bodies[:1])
            before = cpu_s(pid)
            marks = sending.send_at_once([door], [bodies[1:]])
            cpu_us = (cpu_s(pid) - before) / (batches * BATCH) * 1e6
            _check_count(port, len(bodies) * BATCH)
            return Run(marks, BATCH, cpu_us)


def _create_bucket(port: int) -> None:
    bucket = {"client": "bench", "type": "app.editor.activity", "hostname": "bench"}
    address = f"http://127.0.0.1:{port}{_BUCKET}"
    request = urllib.request.Request(address, json.dumps(bucket).encode(), _JSON)
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


def _check_count(port: int, expected: int) -> None:
    """Its answers do not say what was stored."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{_BUCKET}/events/count", timeout=30) as answer:
        stored = int(answer.read())
    if stored != expected:
        raise SystemExit(f"expected ActivityWatch to store {expected:,} events, got {stored:,}")


def _body(batch: bytes) -> bytes:
    return json.dumps([_event(event) for event in json.loads(batch)["events"]]).encode()


def _event(event: dict[str, Any]) -> dict[str, Any]:
    """The event in its form, where all that has no field of its own is data."""
    at = datetime.fromtimestamp(event["timestamp"] / 1_000, UTC).isoformat()
    data = {"id": event["id"], "type": event["eventType"], **event["eventData"]}
    return {"timestamp": at, "duration": 0, "data": data}
