"""Measure what sealing costs: a 384-byte event alone, and in the ingestion of a batch of 1,000.

    python -m bench.sealing

Three rounds in turn, on SQLite on the disk of this folder; the ingestion is that of the server
from the decoded batch to COMMIT, once as it is and once with a vault that only copies. Exit code
1 if sealing takes more than a tenth of the ingestion in the median.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from devflow import workspace
from devflow.config import Settings
from devflow.context import Context
from devflow.crypto import Vault
from devflow.ingest import rows
from devflow.models import Project
from tests.build import DAY_MS, NOW_MS, Member, World, commit

ROUNDS: Final = 3
TIMES: Final = 20_000
BATCH: Final = 1_000
BATCHES: Final = 12
CEILING: Final = 0.1
EVENT: Final = b"x" * 384


class Copying(Vault):
    """A vault that seals nothing, for comparison."""

    def __init__(self, original: Vault) -> None:
        super().__init__(original.ring, b"")

    def sealer(self, field: str) -> Callable[[bytes, bytes], bytes]:
        return lambda row, text: b"\0" * 16 + text + b"\0" * 16


def each_us(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(TIMES):
        work()
    return (time.perf_counter() - started) / TIMES * 1e6


def alone(vault: Vault) -> tuple[float, float, float]:
    """Microseconds of a copy, a seal and an open."""
    row = uuid4().bytes
    sealed = vault.seal(rows.DATA, row, EVENT)
    return (
        each_us(lambda: bytes(bytearray(EVENT))),
        each_us(lambda: vault.seal(rows.DATA, row, EVENT)),
        each_us(lambda: vault.open(rows.DATA, row, sealed)),
    )


def batch_ms(world: World, member: Member, project: Project) -> float:
    """Milliseconds to take a batch of commits of two files each, in the median of some."""
    found = []
    for number in range(BATCHES):
        events = [
            world.event(
                member,
                project,
                commit(member.author, f"src/module{n % 97}/file{n}.py", f"tests/test_file{n}.py"),
                NOW_MS - number * DAY_MS - n * 1_000,
            )
            for n in range(BATCH)
        ]
        started = time.perf_counter()
        result = world.send(member, *events)
        found.append((time.perf_counter() - started) * 1_000)
        assert len(result.synced_ids) == BATCH
    # The first has the files to make, which the others find.
    return statistics.median(found[1:])


def ingestion_ms(folder: Path, *, is_sealing: bool) -> float:
    settings = Settings(data_dir=str(folder))
    workspace.prepare(settings, NOW_MS)
    context = Context.open(settings)
    world = World.of(context)
    ada = world.person("Ada")
    project = world.project("bench", ada)
    if not is_sealing:
        world.vault = Copying(world.vault)
    try:
        return batch_ms(world, ada, project)
    finally:
        context.database.close()


def main() -> int:
    shares = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            plain = ingestion_ms(Path(folder) / "plain", is_sealing=False)
            whole = ingestion_ms(Path(folder) / "sealed", is_sealing=True)
            context = Context.open(Settings(data_dir=str(Path(folder) / "sealed")))
            copy, seal, opened = alone(context.vault)
            context.database.close()
        shares.append(seal * BATCH / 1_000 / whole)
        print(
            f"384 bytes: copy {copy:.2f} us, seal {seal:.2f} us, open {opened:.2f} us; "
            f"1,000 events: {whole:.0f} ms sealed, {plain:.0f} ms not, ratio {whole / plain:.2f}; "
            f"sealing is {shares[-1]:.1%} of it"
        )
    share = statistics.median(shares)
    print(f"sealing takes {share:.1%} of the ingestion of a batch of {BATCH:,} (median of {ROUNDS})")
    return 0 if share < CEILING else 1


if __name__ == "__main__":
    sys.exit(main())
