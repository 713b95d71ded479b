"""An open page follows a save on a developer's PC: how long it takes, and what many open pages cost.

    python -m bench.live [--viewers N] [--saves N]

The agent watches a work tree of its own and streams to gunicorn with SQLite; the viewers are open streams
of the overview. A save is on a page when its message has arrived whole. Exit code 1 if a figure misses
what is asked for.
"""

from __future__ import annotations

import argparse
import os
import random
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests

from bench.ingestion.asked import Asked
from tests.cli import Cli
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, Visitor, enrol, within

VIEWERS: Final = 200
SAVES: Final = 40
LATEST_S: Final = 10.0
TICKS: Final = os.sysconf("SC_CLK_TCK")
ASKED: Final = (
    Asked("s from save to an open page, 95th percentile, one page open", most=1),
    Asked("s from save to the last of all open pages, 95th percentile", most=1.5),
    Asked("times the server's processor time of a save with all pages open as with one"),
)


class Pages:
    """Open streams of the overview; ``arrived`` has when each message was there whole, by viewer."""

    def __init__(self, visitor: Visitor, count: int) -> None:
        place = urlsplit(visitor.server.url)
        address = str(visitor.get("/").select_one("#live")["hx-sse:connect"])  # type: ignore[index]
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.http.cookies.items())
        head = f"GET {address} HTTP/1.1\r\nHost: {place.netloc}\r\nCookie: {cookie}\r\n\r\n".encode()
        self.arrived: list[list[float]] = [[] for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        self._rest = [b""] * count
        for number in range(count):
            connection = socket.create_connection((place.hostname, place.port), 30)
            connection.sendall(head)
            self._selector.register(connection, selectors.EVENT_READ, number)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.2):
                data = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
                if not data:
                    raise SystemExit("expected a stream to stay open, one has ended")
                self._take(key.data, data)

    def _take(self, number: int, data: bytes) -> None:
        *messages, self._rest[number] = (self._rest[number] + data).split(b"\n\n")
        now = time.monotonic()
        self.arrived[number] += [now for message in messages if b"data: " in message]

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


@contextmanager
def open_pages(visitor: Visitor, count: int) -> Iterator[Pages]:
    pages = Pages(visitor, count)
    time.sleep(2)  # all have joined
    try:
        yield pages
    finally:
        pages.close()


def processor_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def saves(repo: Repo, pages: Pages, count: int) -> list[tuple[float, float]]:
    """Seconds until the first and until the last page had it, of each save."""
    found = []
    for _ in range(count):
        began = time.monotonic()
        repo.write("shop.py", str(time.monotonic_ns()))

        def first(began: float = began) -> list[float]:
            return [next((at for at in each if at > began), 0.0) for each in pages.arrived]

        within(LATEST_S, lambda: all(first()))
        found.append((min(first()) - began, max(first()) - began))
        # Not in step with anything: a page is drawn once a second at most.
        time.sleep(random.uniform(1.5, 3))
    return found


def percentile(values: Sequence[float], of_hundred: int) -> float:
    return statistics.quantiles(values, n=100)[of_hundred - 1]


def measure(viewers: int, count: int) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        folder = Path(name).absolute()
        server = ServerProcess(f"sqlite:///{folder / 'devflow.db'}", folder / "data")
        server.start()
        try:
            return _measured(server, folder, viewers, count)
        finally:
            server.kill()


def _measured(server: ServerProcess, folder: Path, viewers: int, count: int) -> tuple[float, ...]:
    repo = Repo(folder / "shop")
    repo.git("config", "user.email", EMAIL)
    repo.write("shop.py", "one\n")
    repo.commit()
    cli = Cli(folder / "home", repo.path)
    with requests.Session() as http:
        visitor = Visitor(server, http)
        visitor.set_up()
        enrol(cli, visitor)
        daemon = cli.start("watch")
        try:
            within(30, lambda: cli.json("status")["watching"])
            time.sleep(3)
            taken = [_with(visitor, repo, number, count) for number in (1, viewers)]
        finally:
            daemon.terminate()
            daemon.communicate(timeout=20)
    (one, one_cpu_s), (many, many_cpu_s) = taken
    firsts, lasts = [first for first, _ in one], [last for _, last in many]
    print(
        f"save to page: median {statistics.median(firsts):.2f} s with one open,"
        f" {statistics.median(lasts):.2f} s to the last of {viewers}; the server's processor time of a save"
        f" {one_cpu_s * 1_000:.0f} ms and {many_cpu_s * 1_000:.0f} ms"
    )
    return percentile(firsts, 95), percentile(lasts, 95), many_cpu_s / one_cpu_s


def _with(visitor: Visitor, repo: Repo, viewers: int, count: int) -> tuple[list[tuple[float, float]], float]:
    """The times of so many saves, and what one of them costs the server, with so many pages open."""
    with open_pages(visitor, viewers) as pages:
        before = processor_s(visitor.server.worker)
        found = saves(repo, pages, count)
        return found, (processor_s(visitor.server.worker) - before) / count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--viewers", type=int, default=VIEWERS)
    parser.add_argument("--saves", type=int, default=SAVES)
    given = parser.parse_args()
    figures = measure(given.viewers, given.saves)
    for asked, figure in zip(ASKED, figures, strict=True):
        print(asked.verdict(figure))
    return 0 if all(asked.is_met(figure) for asked, figure in zip(ASKED, figures, strict=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
