"""Who may import whom; the picture in words, and a walk over the imports that fails on a breach."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Rule:
    """Modules of ``who``, save those of ``without``, import nothing of ``never``, save what is in ``but``.

    Names are separated by spaces, stand for all below them too, and may hold ``*``. The standard
    library is free for all.
    """

    why: str
    who: str
    never: str
    without: str = ""
    but: str = ""


WEB_LIBRARIES: Final = "flask* htmx_flask werkzeug jinja2 gunicorn"
FRONT: Final = "devflow_agent.cli devflow_agent.mcp_server devflow_agent.tui devflow_agent.__main__"

RULES: Final = (
    # What agent and server share
    Rule("the contract needs msgspec alone", "devflow.wire", never="*", but="msgspec devflow.errors"),
    Rule("errors need nothing", "devflow.errors", never="*"),
    Rule(
        "what both count by needs nothing", "devflow.windows devflow.active_time", "*", but="devflow.windows"
    ),
    Rule(
        "what both call by pseudonyms needs the contract",
        "devflow.pseudonyms devflow.languages",
        never="*",
        but="msgspec devflow.wire devflow.languages",
    ),
    # The server: db <- models <- the rest <- jobs, web <- factory <- app
    Rule("the database knows no table", "devflow.db", never="*", but="sqlalchemy psycopg"),
    Rule("tables know only the database", "devflow.models", never="*", but="sqlalchemy devflow.db"),
    Rule("only the web knows Flask", "devflow", WEB_LIBRARIES, without="devflow.web devflow.factory"),
    Rule(
        "the core knows no page",
        "devflow",
        "devflow.web devflow.factory app",
        without="devflow.web devflow.factory",
    ),
    Rule("no page builds the app", "devflow.web", never="devflow.factory app"),
    Rule("nothing waits for the jobs", "devflow", "devflow.jobs", without="devflow.factory"),
    Rule("the server knows no agent", "devflow app", never="devflow_agent"),
    # The agent: store <- sync, collect, analyse <- daemon <- cli, mcp_server, tui
    Rule(
        "the contract and how to count are all they share",
        "devflow_agent",
        "devflow",
        but="devflow.wire devflow.errors devflow.windows devflow.active_time devflow.pseudonyms",
    ),
    Rule(
        "an agent needs no server", "devflow_agent", f"sqlalchemy alembic apscheduler psycopg {WEB_LIBRARIES}"
    ),
    Rule("the store is the ground", "devflow_agent.store", "devflow_agent", but="devflow_agent.schema"),
    Rule(
        "work knows no daemon",
        "devflow_agent",
        "devflow_agent.daemon",
        without=f"devflow_agent.daemon {FRONT}",
    ),
    Rule("work knows no screen", "devflow_agent", FRONT, without=FRONT),
    # Both
    Rule(
        "what ships needs no test",
        "app devflow devflow_agent",
        never="tests conftest pytest hypothesis bench",
    ),
)


@dataclass(frozen=True, slots=True)
class Import:
    """``module`` imports ``name`` on a line of a file."""

    module: str
    name: str
    where: str


def test_every_import_keeps_to_the_rules() -> None:
    assert list(breaches(ROOT)) == []


def test_the_server_has_nothing_to_ask_others_with() -> None:
    """It answers, and asks its database; the health check asks the server itself, the worker ends sockets.

    The cache asks the Redis that the operator names, if any.
    """
    talking = (
        "requests urllib3 httpx aiohttp urllib.request http.client socket asyncio ftplib smtplib imaplib "
        "poplib subprocess multiprocessing redis"
    )
    assert {
        each.module
        for each in imports(ROOT)
        if _covers("app devflow", each.module) and _covers(talking, each.name)
    } == {"devflow.cache.shared", "devflow.healthcheck", "devflow.web.worker"}


def test_a_server_on_sqlite_loads_nothing_that_it_does_not_use() -> None:
    unused = [
        "psycopg",
        "alembic",
        "redis",
        "zxcvbn",
        "segno",
        "requests",
        "urllib3",
        "sqlalchemy.dialects.postgresql",
    ]
    loading = "import devflow.factory, devflow.jobs, devflow.web.worker, sys; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", loading], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = said.stdout.split()
    assert "devflow.web.pages" in loaded
    assert [name for name in unused if name in loaded] == []


def test_the_wheel_has_what_the_agent_imports_of_ours_and_no_more() -> None:
    shared, found = set[str](), {"devflow_agent"}
    while found:
        needed = {each.name for each in imports(ROOT) if _covers(" ".join(found), each.module)}
        modules = {".".join(name.split(".")[:2]) for name in needed if name.startswith("devflow.")}
        found = {module for module in modules if (ROOT / f"{module.replace('.', '/')}.py").exists()} - shared
        shared |= found
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = {f"{module.replace('.', '/')}.py" for module in shared}
    assert set(wheel["only-include"]) == files | {"agent/devflow_agent", "devflow/__init__.py"}


def test_nothing_runs_text_as_code_or_reads_objects_that_could() -> None:
    running = {"eval", "exec", "compile", "__import__"}
    reading = "pickle marshal shelve dill yaml xml lxml"
    assert [each for each in imports(ROOT) if _covers(reading, each.name)] == []
    for path in _files(ROOT):
        calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        called = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert not called & running, path


def test_the_walk_sees_both_programs() -> None:
    assert {
        ("app", "devflow.factory.create_app"),
        ("devflow.ingest", "devflow.wire"),
        ("devflow.web.api.health", "devflow.web.current.session"),
        ("devflow_agent.store", "devflow.wire"),
    } <= {(each.module, each.name) for each in imports(ROOT)}


@pytest.mark.parametrize(
    ("file", "line", "why"),
    [
        ("devflow/wire.py", "import requests", "the contract needs msgspec alone"),
        ("devflow/errors.py", "from devflow import wire", "errors need nothing"),
        ("devflow/active_time.py", "from devflow import wire", "what both count by needs nothing"),
        ("devflow/db.py", "from devflow.models import Event", "the database knows no table"),
        ("devflow/models.py", "from . import rollups", "tables know only the database"),
        ("devflow/ingest/known.py", "from flask_login import current_user", "only the web knows Flask"),
        (
            "devflow/rollups/adding.py",
            "def late():\n    from devflow.web import current",
            "the core knows no page",
        ),
        ("devflow/web/session.py", "from devflow.factory import create_app", "no page builds the app"),
        ("devflow/ingest/known.py", "from devflow import jobs", "nothing waits for the jobs"),
        ("devflow/access.py", "import devflow_agent.store", "the server knows no agent"),
        (
            "agent/devflow_agent/config.py",
            "from devflow import db",
            "the contract and how to count are all they share",
        ),
        ("agent/devflow_agent/config.py", "import sqlalchemy.orm", "an agent needs no server"),
        ("agent/devflow_agent/store.py", "from devflow_agent import config", "the store is the ground"),
        ("agent/devflow_agent/planted.py", "from .daemon import run", "work knows no daemon"),
        ("agent/devflow_agent/planted.py", "from devflow_agent.tui import app", "work knows no screen"),
        ("devflow/crypto.py", "if True:\n    import pytest", "what ships needs no test"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, line: str, why: str) -> None:
    as_it_is, planted = ROOT / file, tmp_path / file
    planted.parent.mkdir(parents=True)
    planted.write_text(f"{as_it_is.read_text('utf-8') if as_it_is.exists() else ''}\n{line}\n", "utf-8")
    [breach] = breaches(tmp_path)
    assert breach.startswith(file)
    assert breach.endswith(why)


def breaches(root: Path) -> Iterator[str]:
    """Each import under ``root`` that a rule forbids: ``file:line imports name: why not``."""
    for each in imports(root):
        for rule in RULES:
            if (
                _covers(rule.who, each.module)
                and not _covers(rule.without, each.module)
                and _covers(rule.never, each.name)
                and not _covers(rule.but, each.name)
                and each.name.partition(".")[0] not in sys.stdlib_module_names
            ):
                yield f"{each.where} imports {each.name}: {rule.why}"


def imports(root: Path) -> Iterator[Import]:
    """Every import in the two programs, wherever in a file it stands."""
    for path in _files(root):
        parts = [part for part in path.relative_to(root).with_suffix("").parts if part != "agent"]
        package = parts[:-1]
        module = ".".join(package if parts[-1] == "__init__" else parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in _names(node, package):
                yield Import(module, name, f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}")


def _files(root: Path) -> Iterator[Path]:
    yield from root.glob("app.py")
    yield from (root / "devflow").rglob("*.py")
    yield from (root / "agent/devflow_agent").rglob("*.py")


def _names(node: ast.AST, package: list[str]) -> Iterator[str]:
    """What an import statement in ``package`` reaches for: ``from a import b`` is a.b, whatever b is."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        start = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*start, *filter(None, [node.module])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _covers(names: str, module: str) -> bool:
    return any(fnmatch(module, name) or fnmatch(module, f"{name}.*") for name in names.split())
