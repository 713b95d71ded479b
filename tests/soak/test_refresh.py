"""Hundreds of kills in the middle of renewing tokens, of agents and of the server."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.refreshing import Refreshing
from tests.server_process import ServerProcess

KILLS = 200


def test_an_agent_killed_two_hundred_times_in_a_refresh_stays_signed_in(
    server: ServerProcess, tmp_path: Path
) -> None:
    pc = Refreshing.signed_in(server, tmp_path / "pc")
    pc.kill_agents(KILLS, random.Random(200))
    pc.assert_signed_in()
    assert pc.lost_answers() > 0, "some were killed between the server's answer and their file"


def test_an_agent_killed_beside_another_one_that_renews_the_same_tokens(
    server: ServerProcess, tmp_path: Path
) -> None:
    pc = Refreshing.signed_in(server, tmp_path / "pc")
    with pc.agent() as beside:
        assert beside.stdout is not None
        pc.kill_agents(KILLS // 4, random.Random(50))
    pc.assert_signed_in()
    pc.lost_answers()


def test_a_server_killed_in_refreshes_signs_nobody_out(server: ServerProcess, tmp_path: Path) -> None:
    pc = Refreshing.signed_in(server, tmp_path / "pc")
    chance = random.Random(20)
    longest_s = 3 * pc.one_round_s()
    with pc.agent():
        for _ in range(KILLS // 10):
            time.sleep(chance.uniform(0, longest_s))
            server.kill()
            server.start()
    pc.assert_signed_in()
    pc.lost_answers()
