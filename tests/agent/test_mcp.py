"""The MCP server as an AI client meets it: the SDK's own client and the real program over stdio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import CallToolResult, TextContent

from devflow import wire
from devflow_agent import credentials, levels
from devflow_agent.config import Home, now_ms
from devflow_agent.mcp_server import build
from devflow_agent.settings import Settings
from devflow_agent.store import Level, Observation, Store
from tests.agent.outbox import Outbox
from tests.agent.scripted_server import ScriptedServer, hang_up, refuse_first

ROOT = Path(__file__).parents[2]
MINE = wire.author_key("alice@example.org")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def parameters(home: Home) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=["-m", "devflow_agent", "mcp"], env=environment(home)
    )


def environment(home: Home) -> dict[str, str]:
    return {
        **os.environ,
        "DEVFLOW_HOME": str(home.path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "agent")]),
    }


def with_client(home: Home, talk: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    """Let ``talk`` talk to the server in this process: starting the program takes a second."""
    _with(Client(build(home)), talk)


def with_program(home: Home, talk: Callable[[Client], Coroutine[Any, Any, None]], mode: str) -> None:
    """Start the program, let ``talk`` talk to it over stdio, and end it."""
    _with(Client(stdio_client(parameters(home)), mode=mode), talk)


def _with(client: Client, talk: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with client:
            with anyio.fail_after(60):
                await talk(client)

    anyio.run(run)


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a call that worked."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, text(result)
    assert isinstance(result.structured_content, dict)
    assert json.loads(text(result)) == result.structured_content, "clients that only read text see the same"
    return result.structured_content


async def error(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert result.is_error
    return text(result)


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def commit(timestamp_ms: int, author: str = MINE, path: str = "src/a.py") -> Observation:
    data = wire.Commit(
        sha=f"{timestamp_ms:040x}",
        parents=[],
        author=author,
        committer=author,
        committed_at=timestamp_ms,
        insertions=10,
        deletions=3,
        files_changed=1,
        files=[wire.FileChange(path=path, insertions=10, deletions=3)],
    )
    return Observation(uuid4(), timestamp_ms, data)


def recorded(home: Home, *observations: Observation, name: str = "shop") -> Store:
    store = home.store()
    project = store.add_project(name, Path("/src") / name, Path("/src") / name / ".git", 0)
    store.add(project.id, observations)
    store.set_settings(author_keys=[MINE])
    return store


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_tools_are_described_for_a_model(home: Home, mode: str) -> None:
    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == [
            "get_activity",
            "sync_configure",
            "sync_history",
            "sync_status",
            "sync_trigger",
        ]
        for tool in tools.values():
            assert tool.description
            assert tool.output_schema is not None
            assert tool.annotations is not None
            assert all("description" in schema for schema in tool.input_schema["properties"].values())
        reading = {
            name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint
        }
        assert reading == {"get_activity", "sync_history", "sync_status"}
        assert set(tools["sync_configure"].input_schema["properties"]) == {
            "enabled",
            "endpoint",
            "interval",
            "batchSize",
        }

    with_program(home, talk, mode)


def test_a_status_of_a_new_home_says_what_is_missing(home: Home) -> None:
    async def talk(client: Client) -> None:
        status = await answer(client, "sync_status")
        assert (status["enabled"], status["endpoint"], status["syncQueueSize"]) == (False, None, 0)
        assert (status["interval"], status["batchSize"]) == (300, 1_000)
        assert status["syncSuccessRate"] is None
        assert status["lastSyncTime"] is None

    with_client(home, talk)


def test_the_strategys_names_with_a_slash_are_accepted(home: Home) -> None:
    async def talk(client: Client) -> None:
        assert (await answer(client, "sync/status"))["enabled"] is False
        assert (await answer(client, "sync/history", limit=3))["attempts"] == []
        assert (await answer(client, "sync/configure", interval=60))["status"]["interval"] == 60
        assert "Unknown tool" in await error(client, "sync/nothing")

    with_client(home, talk)


def test_settings_are_changed_and_wrong_ones_refused(home: Home) -> None:
    async def talk(client: Client) -> None:
        done = await answer(client, "sync_configure", enabled=True, interval=60, batchSize=100)
        assert done["changed"] == ["sync is on now", "interval is 60 seconds now", "batch size is 100 now"]
        assert "devflow sync init" in done["nextStep"]
        assert (await answer(client, "sync_configure"))["changed"] == []
        assert "from 10 to 86400 seconds, got 5" in await error(client, "sync_configure", interval=5)
        assert "from 1 to 1000 events, got 5000" in await error(client, "sync_configure", batchSize=5_000)
        assert "enabled" in await error(client, "sync_configure", enabled="maybe")

    with_client(home, talk)
    assert Settings.load(home.store()) == Settings(sync_enabled=True, sync_interval_s=60, sync_batch_size=100)


def test_another_endpoint_signs_out_and_says_so(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(2)

    async def talk(client: Client) -> None:
        assert (await answer(client, "sync_configure", endpoint=server.url))["changed"] == []
        with ScriptedServer().running() as other:
            done = await answer(client, "sync_configure", endpoint=other.url)
            assert any("ada@example.org was signed out" in line for line in done["changed"])
            assert done["status"]["endpoint"] == other.url
            assert "devflow sync auth" in done["nextStep"]
            assert "nobody is signed in" in await error(client, "sync_trigger")
            assert all("token-0" not in str(seen.headers) for seen in other.seen)

    with_client(outbox.home, talk)
    assert credentials.enrolled(outbox.home.credentials).account is None
    assert outbox.statuses() == {"pending": 2}


def test_an_endpoint_that_cannot_be_trusted_changes_nothing(outbox: Outbox, server: ScriptedServer) -> None:
    async def talk(client: Client) -> None:
        call = {"interval": 77, "endpoint": "http://devflow.example.org"}
        assert "expected https" in await error(client, "sync_configure", **call)
        assert (await answer(client, "sync_status"))["interval"] == 300

    with_client(outbox.home, talk)
    assert credentials.enrolled(outbox.home.credentials).server_url == server.url


def test_a_trigger_sends_and_the_history_shows_it(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(3)
    server.script.extend([hang_up, refuse_first("invalid", retryable=False)])

    async def talk(client: Client) -> None:
        assert "did not answer" in await error(client, "sync_trigger")
        pushed = await answer(client, "sync_trigger")
        assert pushed == {"synced": 2, "failed": 1, "kept": 0, "syncQueueSize": 0}
        assert (await answer(client, "sync_trigger", force=True))["synced"] == 1
        attempts = (await answer(client, "sync_history"))["attempts"]
        assert [attempt["outcome"] for attempt in attempts] == ["ok", "partial", "offline"]
        assert len((await answer(client, "sync_history", limit=1))["attempts"]) == 1
        assert (await answer(client, "sync_history", since="2100-01-01"))["attempts"] == []
        assert "expected an ISO 8601 date" in await error(client, "sync_history", since="yesterday")
        status = await answer(client, "sync_status")
        assert status["syncSuccessRate"] == pytest.approx(2 / 3)
        assert status["lastAttempt"]["outcome"] == "ok"

    with_client(outbox.home, talk)
    assert len(server.stored) == 3


def test_the_status_says_what_each_project_shares_and_what_is_held_back(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.record(2)

    async def talk(client: Client) -> None:
        status = await answer(client, "sync_status")
        assert status["linkedProjects"] == ["shop -> Shop (shares metadata)"]
        levels.choose(outbox.store, {outbox.project.id: outbox.project.path}, Level.OFF)
        status = await answer(client, "sync_status")
        assert status["linkedProjects"] == ["shop -> Shop (shares nothing)"]
        assert (status["syncQueueSize"], status["heldBack"]) == (0, 2)
        assert (await answer(client, "sync_trigger"))["synced"] == 0
        assert server.uploads == []

    with_client(outbox.home, talk)


def test_an_assistant_is_told_how_sync_is_doing_and_what_is_wrong(
    outbox: Outbox, server: ScriptedServer
) -> None:
    outbox.store.set_settings(alert_queue_size=1)
    outbox.record(2)

    async def talk(client: Client) -> None:
        status = await answer(client, "sync_status")
        assert (status["syncQueueSize"], status["averageSyncLatency"]) == (2, None)
        assert (status["networkQuality"], status["currentBatchSize"]) == ("unknown", 100)
        (alert,) = status["alerts"]
        assert alert.endswith("2 events wait to be sent, limit 1: `devflow sync queue`")
        await answer(client, "sync_trigger")
        status = await answer(client, "sync_status")
        assert (status["syncQueueSize"], status["alerts"]) == (0, [])
        assert status["averageSyncLatency"] is not None

    with_client(outbox.home, talk)


def test_sync_that_is_off_is_not_triggered(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(1)

    async def talk(client: Client) -> None:
        assert (await answer(client, "sync_configure", enabled=False))["changed"] == ["sync is off now"]
        assert "sync is off" in await error(client, "sync_trigger")

    with_client(outbox.home, talk)
    assert server.seen == []


def test_activity_counts_what_is_the_developers_own(home: Home) -> None:
    noon = 1_763_899_200_000  # 2025-11-23 12:00 UTC
    minute = 60_000
    recorded(
        home,
        commit(noon),
        Observation.own(noon + 10 * minute, wire.FileSaved(path="src/b.py", size_bytes=1)),
        commit(noon + 11 * minute, author="f" * 32, path="other.py"),
        Observation.own(noon + 60 * minute, wire.FileSaved(path="src/b.py", size_bytes=2)),
    )

    async def talk(client: Client) -> None:
        found = await answer(
            client,
            "get_activity",
            since="2025-11-23T11:00:00+00:00",
            until="2025-11-23T14:00:00+00:00",
            limit=2,
        )
        assert found["total"] == {
            "events": 3,
            "commits": 1,
            "insertions": 10,
            "deletions": 3,
            "files": 2,
            "activeSeconds": 600,
            "eventsByOthers": 1,
            "commitsByOthers": 1,
            "filesByOthers": 1,
        }
        assert [event["eventType"] for event in found["events"]] == ["file.saved", "git.commit"]
        assert found["moreEvents"] is True
        assert (await answer(client, "get_activity"))["total"]["events"] == 0, "the last 7 days"

    with_client(home, talk)


def test_activity_is_counted_by_the_windows_that_are_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    monkeypatch.setenv("DEVFLOW_IDLE_LIMIT_S", "600")
    evening = 1_764_612_900_000  # 2025-12-01 18:15 UTC: in India a quarter to midnight of a Monday
    store = recorded(home, commit(evening), commit(evening + 600_000), commit(evening + 1_200_000))

    async def talk(client: Client) -> None:
        async def asked(by: str) -> list[Any]:
            found = await answer(client, "get_activity", by=by, since="2025-12-01", until="2025-12-03")
            assert (found["by"], found["timezone"], found["idleLimit"]) == (by, "Asia/Kolkata", 600)
            return [
                [window["group"], window["numbers"]["events"], window["numbers"]["activeSeconds"]]
                for window in found["windows"]
            ]

        assert await asked("hour") == [["2025-12-01T23:00+05:30", 2, 900], ["2025-12-02T00:00+05:30", 1, 300]]
        assert await asked("day") == [["2025-12-01", 2, 900], ["2025-12-02", 1, 300]]
        assert await asked("week") == [["2025-W49", 3, 1_200]]
        assert await asked("month") == [["2025-12", 3, 1_200]]
        store.add(store.projects()[0].id, [commit(evening + 1)])
        assert await asked("month") == [["2025-12", 4, 1_200]], "a new event shows at once"
        assert "92 days by hour" in await error(client, "get_activity", by="hour", since="2025-01-01")
        assert "by" in await error(client, "get_activity", by="year")

    with_client(home, talk)


def test_activity_of_one_project(home: Home) -> None:
    now = now_ms()
    recorded(home, commit(now - 1_000), name="shop")
    recorded(home, commit(now - 2_000), commit(now - 3_000), name="till")

    async def talk(client: Client) -> None:
        assert (await answer(client, "get_activity"))["total"]["events"] == 3
        assert (await answer(client, "get_activity", project="till"))["total"]["events"] == 2
        wrong = await error(client, "get_activity", project="bank")
        assert "shop" in wrong
        assert "got bank" in wrong
        backwards = {"since": "2025-02-01", "until": "2025-01-01"}
        assert "expected since before until" in await error(client, "get_activity", **backwards)

    with_client(home, talk)


def test_text_from_a_repository_cannot_hide_anything_from_the_reader(home: Home) -> None:
    hostile = "a\u202eb\x1b[31m\u200bc\n\U000e0041.py"
    recorded(home, commit(now_ms() - 1_000, path=hostile), name="sh\u202eop")

    async def talk(client: Client) -> None:
        found = await answer(client, "get_activity")
        (event,) = found["events"]
        path = event["eventData"]["files"][0]["path"]
        assert path == r"a\u{202e}b\u{1b}[31m\u{200b}c\u{a}\u{e0041}.py"
        assert event["project"] == r"sh\u{202e}op"

    with_client(home, talk)


def test_nothing_but_the_protocol_goes_to_stdout(home: Home) -> None:
    lines = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        },
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "sync_status", "arguments": {}},
        },
        {
            "jsonrpc": "2.0",
            "id": 3,
            "method": "tools/call",
            "params": {"name": "sync_trigger", "arguments": {}},
        },
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "devflow_agent", "mcp"],
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for line in lines:
            server.stdin.write(json.dumps(line) + "\n")
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(3)]
        assert sorted(one["id"] for one in answers) == [1, 2, 3]
        server.stdin.close()
        assert server.stdout.read() == ""
        assert server.wait(30) == 0
