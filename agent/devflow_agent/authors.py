"""Which commit authors are the developer: those with an address git is configured with, or who signed in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from devflow import wire
from devflow_agent.collect import git_program
from devflow_agent.settings import Settings
from devflow_agent.store import Store


def keys(repositories: Iterable[Path]) -> tuple[str, ...]:
    """The author keys of `git config user.email` in these repositories; one without adds none."""
    found: dict[str, None] = {}  # a set that keeps the order
    for path in repositories:
        email = git_program.ask(path, "config", "--get", "user.email") if path.is_dir() else None
        if email is not None and email.strip():
            found[wire.author_key(email.decode(errors="surrogateescape"))] = None
    return tuple(found)


def remember(store: Store, author_keys: Iterable[str]) -> None:
    """Add to the keys that are the developer; an address used once stays the developer's."""
    known = Settings.load(store).author_keys
    store.set_settings(author_keys=list(dict.fromkeys([*known, *author_keys])))
