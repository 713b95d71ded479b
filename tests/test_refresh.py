"""Tokens that are renewed by real agents at a real server, killed in the middle: nobody is signed out."""

from __future__ import annotations

import random
from pathlib import Path

from tests.refreshing import Refreshing
from tests.server_process import ServerProcess


def test_an_agent_killed_at_any_moment_of_a_refresh_stays_signed_in(
    server: ServerProcess, tmp_path: Path
) -> None:
    pc = Refreshing.signed_in(server, tmp_path / "pc")
    pc.kill_agents(8, random.Random(8))
    pc.assert_signed_in()
    pc.lost_answers()
