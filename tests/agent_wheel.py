"""The agent's wheel as the image has it, and a virtual environment into which only it has to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


def build(folder: Path) -> Path:
    """The wheel, built into the folder by the command that the Dockerfile has."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", os.fspath(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def bare_environment(folder: Path) -> Path:
    """A new virtual environment with pip and the libraries of this one, but nothing of this project.

    To fetch the libraries from an index would take longer than all the rest; pip sees that they are there.
    """
    made, libraries = folder / "venv", folder / "libraries"
    venv.create(made, with_pip=True, symlinks=True)
    libraries.mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if "devflow" not in each.name:
            (libraries / each.name).symlink_to(each)
    (site,) = made.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(f"{libraries}\n")
    return made
