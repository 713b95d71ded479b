"""Agents that renew their tokens without a pause, to be killed in the middle of it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests
from sqlalchemy import select

from devflow.db import Database
from devflow.models import Grant, RefreshToken
from devflow_agent import credentials
from devflow_agent.remote import Remote
from tests.cli import Cli
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor

# Now and then it also uses what it got, as an agent does. The first lines say how long a round takes.
LOOP: Final = """
import itertools, random, sys, time
from pathlib import Path
import requests
from devflow.errors import Offline
from devflow_agent import credentials
from devflow_agent.remote import Remote

with requests.Session() as http:
    remote = Remote(Path(sys.argv[1]), http)
    remote.projects()  # whatever is imported and connected the first time only
    with credentials.changing(Path(sys.argv[1])):
        print("ready", flush=True)
    for number in itertools.count():
        began = time.monotonic()
        try:
            remote._renew()
            if random.random() < 0.3:
                remote.projects()
        except Offline:
            time.sleep(0.01)
        if number < 10:  # nobody reads on
            print(time.monotonic() - began, flush=True)
"""
ROUNDS: Final = 10


@dataclass
class Refreshing:
    """A PC that is signed in to a real server."""

    server: ServerProcess
    cli: Cli

    @classmethod
    def signed_in(cls, server: ServerProcess, folder: Path) -> Refreshing:
        with requests.Session() as http:  # closed before the server, which would wait for it
            Visitor(server, http).set_up()
        folder.mkdir()
        cli = Cli(folder / "home", folder)
        cli.ok("sync", "init", server.url)
        cli.ok("sync", "auth", "--email", EMAIL, "--password-stdin", stdin=PASSWORD + "\n")
        return cls(server, cli)

    @contextmanager
    def agent(self) -> Iterator[subprocess.Popen[str]]:
        """An agent that renews all the time, and is killed at the end; it must have lived until then."""
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(self.cli.home.credentials)],
            env=self.cli.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            try:
                yield process
            finally:
                ended = process.poll()
                process.kill()
            assert ended is None, process.stderr.read()

    def one_round_s(self) -> float:
        """How long it takes an agent to renew its tokens and to save them."""
        with self.agent() as process:
            assert process.stdout is not None
            took = [float(process.stdout.readline()) for _ in range(ROUNDS)]
        return sorted(took)[ROUNDS // 2]

    def kill_agents(self, times: int, chance: random.Random) -> None:
        """Start an agent and kill it at any moment of its first rounds, so many times."""
        longest_s = 2 * self.one_round_s()
        for _ in range(times):
            with self.agent():
                time.sleep(chance.uniform(0, longest_s))

    def assert_signed_in(self) -> None:
        """The tokens are good still, and no one else's copy of them is left lying about."""
        assert credentials.enrolled(self.cli.home.credentials).account is not None
        with requests.Session() as http:
            assert Remote(self.cli.home.credentials, http).projects() == []
        left = [path.name for path in self.cli.home.path.iterdir() if path.name.startswith(".credentials")]
        assert len(left) <= 1, left

    def lost_answers(self) -> int:
        """How many answers of the server never came to be used; asserts that one log-in did it all."""
        database = Database(self.server.database_url)
        with database.reading() as session:
            (grant,) = session.scalars(select(Grant)).all()
            assert grant.ended_at is None
            parents = Counter(session.scalars(select(RefreshToken.parent)))
        database.close()
        return sum(count - 1 for count in parents.values())
