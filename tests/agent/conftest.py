"""What all tests of the agent share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_config_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The git config of whoever runs the tests must not decide them."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
