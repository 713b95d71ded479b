"""What of a path or a name may be recorded, and how it is written so that it fits the wire.

A path that ``never_seen`` names leaves no trace, whatever git or the developer's settings say:
no row in the store, no line in a log. What git ignores is left out as well, by asking git;
this list holds also where nothing is ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Final

import msgspec

from devflow import wire

MAX_REF: Final = 1_024
_MAX_JSON_BYTES: Final = 12_000  # a rename carries two paths, and both must fit one event
_ALWAYS_FITS: Final = 1_000  # bytes: JSON writes each of them in at most six
_KEPT: Final = 950  # characters of a name that is cut; with the hash still below MAX_REF

NEVER_SEEN: Final[Mapping[str, tuple[str, ...]]] = {
    "version control": (".git", ".hg", ".svn", ".jj", ".sl"),
    "installed packages": (
        "node_modules",
        "bower_components",
        "jspm_packages",
        ".pnpm-store",
        ".venv",
        "venv",
        ".virtualenv",
        "site-packages",
        "*.egg-info",
        ".eggs",
        ".gradle",
        ".terraform",
    ),
    "caches": (
        "__pycache__",
        "*.pyc",
        "*.pyo",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".tox",
        ".nox",
        ".cache",
        ".parcel-cache",
        ".turbo",
        ".next",
        ".nuxt",
        ".svelte-kit",
        ".direnv",
        ".ds_store",
        "thumbs.db",
    ),
    "secrets in the environment": (".env", ".env.*", ".envrc"),
    "keys": (
        "*.pem",
        "*.key",
        "*.p8",
        "*.p12",
        "*.pfx",
        "*.ppk",
        "*.jks",
        "*.keystore",
        "*.kdbx",
        "*.gpg",
        "*.age",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ecdsa_sk",
        "id_ed25519",
        "id_ed25519_sk",
    ),
    "accounts": (
        ".ssh",
        ".aws",
        ".azure",
        ".gcloud",
        ".gnupg",
        ".kube",
        ".password-store",
        ".netrc",
        "_netrc",
        ".npmrc",
        ".pypirc",
        ".pgpass",
        ".htpasswd",
        ".git-credentials",
        "credentials.json",
    ),
    "editors' temporary files": (
        "4913",  # vim tries whether it may write here
        "*.sw[l-p]",
        "*.swx",
        "*.kate-swp",
        "*.crswap",
        "*~",
        ".#*",
        "#*#",
        "~$*",
        ".~lock.*",
        "*.tmp",
        "*.tmp.*",
        ".goutputstream-*",
        ".fuse_hidden*",
        ".nfs[0-9]*",
        "*___jb_tmp___",
        "*___jb_old___",
    ),
}
"""Why, and the names: shell patterns in lower case, matched against each folder and the file of a path."""

YET_SEEN: Final = (
    ".env.example",
    ".env.sample",
    ".env.template",
    ".env.*.example",
    ".env.*.sample",
    ".env.*.template",
)
"""Names that match above and are meant to be shared."""


def never_seen(path: str) -> bool:
    """True if any part of the path, with forward slashes, is a name nobody needs to know of.

    Upper and lower case are the same: a key is one on every file system.
    """
    return any(_is_private(name) for name in path.split("/"))


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns))


_never: Final = _any_of(tuple(pattern for patterns in NEVER_SEEN.values() for pattern in patterns))
_yet: Final = _any_of(YET_SEEN)


# The names of a tree repeat: a scan of 50,000 paths asks for a few thousand.
@lru_cache(maxsize=16_384)
def _is_private(name: str) -> bool:
    lower = name.lower()
    return _never.match(lower) is not None and _yet.match(lower) is None


def wire_path(raw: bytes) -> str:
    r"""A path as git or the file system has it, as the wire carries it.

    UTF-8 as it stands; bytes that are not become ``\xff``, so that names which differ only
    there stay different. What is too long for the wire keeps its beginning and ends in the
    SHA-256 of the whole, for the same reason.
    """
    return _fitting(raw, wire.MAX_PATH)


def wire_ref(raw: bytes) -> str:
    """The name of a branch or a tag, by the rule of ``wire_path``."""
    return _fitting(raw, MAX_REF)


def _fitting(raw: bytes, longest: int) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    if len(raw) <= _ALWAYS_FITS:
        return text if len(text) <= longest else _cut(text, raw)
    if len(text) <= longest and len(msgspec.json.encode(text)) <= _MAX_JSON_BYTES:
        return text
    return _cut(text, raw)


def _cut(text: str, raw: bytes) -> str:
    return f"{text[:_KEPT]}~{hashlib.sha256(raw).hexdigest()}"
