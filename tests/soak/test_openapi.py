"""All that schemathesis can think of, asked of a real server on each database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from devflow import workspace
from devflow.config import Settings
from devflow.context import Context
from devflow.web.api import openapi
from tests import build, by_the_document
from tests.build import NOW_MS, World
from tests.by_the_document import Program
from tests.server_process import ServerProcess

EXAMPLES: Final = 300
# What would end the token that everything is asked with.
LEFT_OUT: Final = ("logout", "revoke")
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


def test_ten_thousand_requests_by_who_may_get_no_answer_that_is_not_promised(
    database_url: str, tmp_path: Path
) -> None:
    prepared = Settings(data_dir=str(tmp_path / "data"), database_url=database_url)
    workspace.prepare(prepared, NOW_MS)
    described = Context.open(prepared)
    program = Program.settled(prepared, openapi.document(build.app(described)))
    described.database.close()
    assert program.try_all(build.app(program.context), EXAMPLES) == {"stream"}, "which takes a WebSocket"
    program.context.database.close()


def test_what_schemathesis_thinks_of_gets_no_answer_that_is_not_promised(
    server: ServerProcess, tmp_path: Path
) -> None:
    context = Context.open(Settings(data_dir=str(server.data_dir), database_url=server.database_url))
    bob = World.of(context).person("Bob")
    token = by_the_document.tokens_of(context, bob).token
    context.database.close()
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.url}/openapi.json",
            f"--header=Authorization: Bearer {token}",
            *(f"--exclude-operation-id={name}" for name in LEFT_OUT),
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={EXAMPLES}",
            "--generation-database=none",
            "--continue-on-failure",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
