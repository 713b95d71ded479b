"""What all tests of the agent share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devflow_agent.store import Project, Store
from tests.agent.outbox import Outbox
from tests.agent.recorded import add_project
from tests.agent.scripted_server import ScriptedServer


@pytest.fixture(autouse=True)
def no_config_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The git config of whoever runs the tests must not decide them."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer().running() as running:
        yield running


@pytest.fixture
def outbox(tmp_path: Path, server: ScriptedServer) -> Outbox:
    return Outbox.signed_in(tmp_path / "home", server)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "devflow.db"


@pytest.fixture
def store(path: Path) -> Store:
    return Store(path)


@pytest.fixture
def project(store: Store) -> Project:
    return add_project(store, "shop")
