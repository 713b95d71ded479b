"""The commands around sync against a real server: what they say is what is so there."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import delete

from devflow.db import Database
from devflow.models import Event
from tests.restoring import Pc, set_up
from tests.server_process import ServerProcess
from tests.visitor import EMAIL, PASSWORD, Visitor


def forget_events(server: ServerProcess) -> None:
    """As a backup from before them would."""
    database = Database(server.database_url)
    with database.writing() as session:
        session.execute(delete(Event))
    database.close()


@pytest.mark.parametrize("backend", ["sqlite"])  # a matter of the PC
def test_a_trace_and_a_test_tell_what_a_real_server_has(server: ServerProcess, tmp_path: Path) -> None:
    with set_up(server) as page:
        ada, other = (Pc.enrolled(server, tmp_path / name, page) for name in ("one", "two"))
        states = [check["state"] for check in ada.cli.json("sync", "test")]
        assert states == ["ok"] * 11
        ada.record(4, first_commit=0)
        found = ada.cli.json("sync", "preview")
        mine = {event["eventType"]: event for event in found["events"]}["file.saved"]
        assert ada.cli.json("sync", "trace", mine["id"])["cause"] == "nobody sends"
        ada.push()
        traced = ada.cli.json("sync", "trace", mine["id"])
        assert (traced["cause"], traced["server"]["deviceId"]) == ("synced", mine["deviceId"])
        elsewhere = other.cli.json("sync", "trace", mine["id"], "--at", str(mine["timestamp"]))
        assert (elsewhere["cause"], elsewhere["server"]["deviceId"]) == ("another PC", mine["deviceId"])
        unknown = other.cli.json("sync", "trace", str(uuid4()), "--at", str(mine["timestamp"]))
        assert unknown["cause"] == "unknown"
        with requests.Session() as http:
            visitor = Visitor(server, http)
            visitor.post("/sign-in", email=EMAIL, password=PASSWORD)
            card = visitor.get("/me/devices").select_one(f"#device-{UUID(mine['deviceId'])}")
            assert card is not None
            assert "Still waiting then" in card.get_text()
        forget_events(server)
        assert ada.cli.json("sync", "trace", mine["id"])["cause"] == "lost by the server"
