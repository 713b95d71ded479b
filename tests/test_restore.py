"""A backup of a real server is restored, and real agents bring back what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.restoring import lose_and_find
from tests.server_process import ServerProcess


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "unnoticed"])
def test_what_a_restored_backup_lacks_comes_back_from_the_agents(
    server: ServerProcess, tmp_path: Path, backend: str, request: pytest.FixtureRequest, is_noticed: bool
) -> None:
    postgres = request.getfixturevalue("postgres") if backend == "postgres" else None
    lose_and_find(server, tmp_path, postgres, before=100, after=400, is_noticed=is_noticed)
