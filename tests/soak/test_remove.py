"""``devflow remove`` killed at forty moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server_process import ServerProcess
from tests.test_remove import killed_while_removing


@pytest.mark.parametrize("backend", ["sqlite"])
def test_killed_at_any_of_forty_moments_it_can_be_run_again(server: ServerProcess, tmp_path: Path) -> None:
    killed_while_removing(server, tmp_path, trials=40)
