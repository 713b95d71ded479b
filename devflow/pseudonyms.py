"""Names that a developer keeps: what stands in their place in an event that leaves without them.

A pseudonym is a tilde and 20 hex digits of a keyed hash, of a path with an ending that tells its language.
Whoever lacks the key learns from it that it is the same file, branch or tag again, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final, assert_never

from msgspec.structs import replace

from devflow import languages
from devflow.wire import (
    BranchCreated,
    BranchDeleted,
    BranchSwitched,
    Commit,
    CommitFiles,
    EventData,
    FileChange,
    FileCreated,
    FileDeleted,
    FileRenamed,
    FileSaved,
    Merge,
    TagCreated,
)

_DIGITS: Final = 20
LONGEST: Final = 1 + _DIGITS + 1 + max(map(len, languages.ENDINGS))
"""Characters, all of them ASCII."""
_FORM: Final = re.compile(rf"~[0-9a-f]{{{_DIGITS}}}(?:\.([a-z0-9+]{{1,20}}))?")
Rename = Callable[[str], str]


def of_path(key: bytes, path: str) -> str:
    """What stands for a path; its language is the path's."""
    ending = languages.ending_of(path)
    return f"{_hash(key, 'path', path)}.{ending}" if ending else _hash(key, "path", path)


def of_ref(key: bytes, name: str) -> str:
    """What stands for the name of a branch or a tag."""
    return _hash(key, "ref", name)


def without_names(key: bytes, data: EventData) -> EventData:
    """The event with a pseudonym for each path and each name of a branch or tag; numbers stay."""
    return renamed(data, lambda path: of_path(key, path), lambda name: of_ref(key, name))


def is_one(name: str) -> bool:
    return _FORM.fullmatch(name) is not None


def ending_of(name: str) -> str:
    """What follows the digits of a pseudonym, "" if nothing does."""
    found = _FORM.fullmatch(name)
    return "" if found is None else found[1] or ""


def tell_the_same(one: EventData, other: EventData) -> bool:
    """Whether they differ at most in names of which one of the two tells only the pseudonym."""
    if type(one) is not type(other) or _nameless(one) != _nameless(other):
        return False
    pairs = zip(_names(one), _names(other), strict=True)
    return all(name == another or is_one(name) or is_one(another) for name, another in pairs)


def renamed(data: EventData, path: Rename, ref: Rename) -> EventData:
    """The event with each of its names replaced, in the order in which they stand."""
    match data:
        case FileSaved() | FileCreated() | FileDeleted():
            return replace(data, path=path(data.path))
        case FileRenamed():
            return replace(data, path=path(data.path), old_path=path(data.old_path))
        case Commit() | CommitFiles():
            return replace(data, files=[_change(change, path) for change in data.files])
        case Merge():
            return data
        case BranchSwitched():
            return replace(data, branch=_optional(data.branch, ref), previous=_optional(data.previous, ref))
        case BranchCreated() | BranchDeleted():
            return replace(data, branch=ref(data.branch))
        case TagCreated():
            return replace(data, tag=ref(data.tag))
        case _:
            assert_never(data)


def _change(change: FileChange, path: Rename) -> FileChange:
    return replace(change, path=path(change.path), old_path=_optional(change.old_path, path))


def _optional(name: str | None, rename: Rename) -> str | None:
    return None if name is None else rename(name)


def _nameless(data: EventData) -> EventData:
    return renamed(data, lambda _: "~", lambda _: "~")


def _names(data: EventData) -> list[str]:
    found: list[str] = []

    def noted(name: str) -> str:
        found.append(name)
        return name

    renamed(data, noted, noted)
    return found


def _hash(key: bytes, kind: str, name: str) -> str:
    # The kind keeps a branch from being told by a folder that is called like it.
    digest = hmac.digest(key, f"{kind}\x00{name}".encode(errors="surrogatepass"), hashlib.sha256)
    return f"~{digest.hex()[:_DIGITS]}"
