"""Five thousand power cuts."""

from __future__ import annotations

from pathlib import Path

from tests.agent.test_power import losses


def test_none_of_five_thousand_power_cuts_loses_what_was_recorded(tmp_path: Path) -> None:
    assert losses(tmp_path, 5_000, seed=2) == 0
