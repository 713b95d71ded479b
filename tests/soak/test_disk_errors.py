"""Disks that fail for a while, at hundreds of places."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.agent import failing


@pytest.mark.parametrize("then", failing.THEN)
def test_no_power_cut_after_failed_fsyncs_takes_what_was_said_to_be_recorded(
    tmp_path: Path, then: str
) -> None:
    failed = 0
    for seed in range(40):
        (folder := tmp_path / str(seed)).mkdir()
        some, lost = failing.losses(folder, then, seed, images=60)
        assert lost == 0, seed
        failed += some
    assert failed > 40


@pytest.mark.parametrize("call", failing.CALLS)
def test_what_was_said_to_be_recorded_is_there_wherever_a_call_fails(tmp_path: Path, call: str) -> None:
    chance, hits = random.Random(5), 0
    for number in range(60):
        first = chance.randrange(1, 8 if call == "ftruncate" else 120)  # there are few of these
        then, home = chance.choice([*failing.THEN]), tmp_path / str(number)
        failing.survives(home, call, then, first, first + chance.randrange(6))
        hits += failing.faults(home) > 0
    assert hits > 10
