"""Two hundred damaged stores, each salvaged; and what every command says of some of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.agent.test_doctor import made, salvaged_from_flips, speaks_of_damage


def test_damage_at_two_hundred_places_never_changes_an_event(tmp_path: Path) -> None:
    home = tmp_path / "home"
    events = made(home)
    again = tmp_path / "again"
    for seed in range(200):
        shutil.copytree(home, again)
        salvaged_from_flips(again, events, seed)
        shutil.rmtree(again)


def test_no_command_shows_a_traceback_of_any_of_thirty(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made(home)
    for seed in range(30):
        again = tmp_path / str(seed)
        shutil.copytree(home, again)
        speaks_of_damage(again, tmp_path, seed)
