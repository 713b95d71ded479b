"""Ten thousand events of each PC are lost by a restored backup, and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.restoring import lose_and_find
from tests.server_process import ServerProcess


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "unnoticed"])
def test_ten_thousand_events_that_a_restored_backup_lacks_come_back(
    server: ServerProcess, tmp_path: Path, backend: str, request: pytest.FixtureRequest, is_noticed: bool
) -> None:
    postgres = request.getfixturevalue("postgres") if backend == "postgres" else None
    lose_and_find(server, tmp_path, postgres, before=1_000, after=10_000, is_noticed=is_noticed)
