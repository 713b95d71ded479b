"""What a disk may hold after a power cut: the writes of a real process, recorded and played again in part.

Recorded with strace. What was written before the last fsync of its file is there; of what came later, any
part may be, in sectors. The names of files follow the same rule by the fsync of their folder. After an fsync
that failed, what was written before may not be there for good: the kernel takes it for written, and the next
fsync says that all is well.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

SECTOR: Final = 512
_CALL: Final = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_FILE: Final = re.compile(r"^(\d+)<((?:\\x..)*)>")
_TEXT: Final = re.compile(r'"((?:\\x..)*)"(\.\.\.)?')
_NAME: Final = re.compile(r"^(devflow|archive)\.db(-wal|-journal)?$")


@dataclass(frozen=True)
class Step:
    """One call. ``file`` is a name and its generation: each time it is deleted another one begins."""

    kind: Literal["write", "truncate", "sync", "failed sync", "unlink", "sync folder", "said"]
    file: tuple[str, int] = ("", 0)
    at: int = 0
    content: bytes = b""


def record(script: str, home: Path, fault: str = "") -> list[Step]:
    """What the Python ``script`` does to the store in ``home``, and says on stdout; both in order.

    ``fault`` is what strace injects into its calls, such as ``fdatasync:error=EIO:when=7..9``.
    """
    log = home.with_suffix(".strace")
    subprocess.run(
        [
            *("strace", "-f", "-xx", "-y", "-s", "1000000", "-o", str(log)),
            *("-e", "trace=write,pwrite64,ftruncate,fsync,fdatasync,unlink"),
            *(("-e", f"inject={fault}") if fault else ()),
            *(sys.executable, "-c", script, str(home)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    steps: list[Step] = []
    generation: dict[str, int] = {}
    for line in log.read_text("ascii").splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        step = _step(call[1], call[2], home, generation) if int(call[3]) >= 0 or "sync" in call[1] else None
        if step is not None:
            steps.append(step if int(call[3]) >= 0 else Step("failed sync", step.file))
    return steps


def _step(call: str, given: str, home: Path, generation: dict[str, int]) -> Step | None:
    if call == "unlink":
        path = Path(_decoded(_TEXT.match(given)).decode())
        if path.parent != home or not _NAME.match(path.name):
            return None
        before = (path.name, generation.get(path.name, 0))
        generation[path.name] = before[1] + 1
        return Step("unlink", before)
    file = _FILE.match(given)
    assert file is not None, given
    path = Path(bytes.fromhex(file[2].replace("\\x", "")).decode())
    rest = given[file.end() :].removeprefix(", ")
    if call == "write" and file[1] == "1":
        return Step("said", content=_decoded(_TEXT.match(rest)))
    if path == home:
        return Step("sync folder")
    if path.parent != home or not _NAME.match(path.name):
        return None
    key = (path.name, generation.get(path.name, 0))
    if call in ("fsync", "fdatasync"):
        return Step("sync", key)
    if call == "ftruncate":
        return Step("truncate", key, at=int(rest, 0))
    return Step("write", key, at=int(rest.rpartition(", ")[2]), content=_decoded(_TEXT.match(rest)))


def _decoded(text: re.Match[str] | None) -> bytes:
    assert text is not None
    assert text[2] is None, "expected all that was written, got the start of it"
    return bytes.fromhex(text[1].replace("\\x", ""))


def image(steps: list[Step], until: int, folder: Path, chance: random.Random) -> None:
    """Write what the disk may hold if the power fails after so many steps."""
    done = steps[:until]
    durable = _durable(done)
    folder_synced = max((n for n, step in enumerate(done) if step.kind == "sync folder"), default=-1)
    share = chance.choice((0.0, 0.3, 0.7, 1.0))
    contents: dict[tuple[str, int], bytearray] = {}
    names: dict[str, int] = {}
    for number, step in enumerate(done):
        if step.kind == "unlink":
            if number < folder_synced or chance.random() < share:
                names[step.file[0]] = step.file[1] + 1
        elif step.kind in ("write", "truncate"):
            content = contents.setdefault(step.file, bytearray())
            if number in durable:
                _apply(content, step)
            elif chance.random() < share:
                _apply(content, _torn(step, chance))
    folder.mkdir(mode=0o700)
    for (name, number), content in contents.items():
        if names.get(name, 0) == number:
            (folder / name).write_bytes(content)


def _durable(done: list[Step]) -> set[int]:
    """The numbers of those steps that a power cut takes back in no case."""
    durable: set[int] = set()
    waiting: dict[tuple[str, int], list[int]] = {}
    for number, step in enumerate(done):
        if step.kind in ("write", "truncate"):
            waiting.setdefault(step.file, []).append(number)
        elif step.kind in ("sync", "failed sync"):
            before = waiting.pop(step.file, [])
            durable.update(before if step.kind == "sync" else ())
    return durable


def _torn(step: Step, chance: random.Random) -> Step:
    if step.kind != "write" or chance.random() < 0.7:
        return step
    return Step(
        "write",
        step.file,
        step.at,
        step.content[: SECTOR * chance.randrange(len(step.content) // SECTOR + 1)],
    )


def _apply(content: bytearray, step: Step) -> None:
    if step.kind == "truncate":
        content[:] = content[: step.at].ljust(step.at, b"\0")
        return
    if len(content) < step.at:
        content.extend(bytes(step.at - len(content)))
    content[step.at : step.at + len(step.content)] = step.content


def said(steps: list[Step], until: int) -> set[str]:
    return {word for step in steps[:until] if step.kind == "said" for word in step.content.decode().split()}
