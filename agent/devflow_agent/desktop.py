"""A notification on the desktop, where there is one; never a failure where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

TIMEOUT_S: Final = 5.0
"""A notification service that hangs must not hold up what notifies."""


def notify(title: str, text: str) -> bool:
    """Show it by ``notify-send``; return whether that was done."""
    program = shutil.which("notify-send")
    has_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if program is None or not has_screen:
        return False
    command = [program, "--app-name=DevFlow", "--", title, text]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
