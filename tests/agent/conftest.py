"""Fixtures of the agent's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.outbox import Outbox
from tests.agent.scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer().running() as running:
        yield running


@pytest.fixture
def outbox(tmp_path: Path, server: ScriptedServer) -> Outbox:
    return Outbox.signed_in(tmp_path / "home", server)
