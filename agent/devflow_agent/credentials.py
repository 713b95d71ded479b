"""Which server this PC reports to and as whom: one private file, replaced whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from devflow.errors import Invalid, Unauthorized


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody signed in. ``expires_at`` is when ``token`` ends, in Unix milliseconds."""

    user_id: UUID
    email: str
    token: str
    refresh_token: str
    expires_at: int


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The server this PC enrolled with, and the account there once somebody signed in.

    ``server_id`` is what the server called itself at enrolment; an answer of anybody else
    settles nothing. ``insecure_http`` is the developer's word that plain http is acceptable.
    """

    server_url: str
    server_id: UUID
    insecure_http: bool = False
    account: Account | None = None

    def signed_in(self) -> Account:
        if self.account is None:
            raise Unauthorized("nobody is signed in: run `devflow sync auth`")
        return self.account


def load(path: Path) -> Credentials | None:
    """What ``save`` wrote, None before the first time; raise Invalid if the file is not that."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is damaged ({error}): delete it and run `devflow sync init URL`") from error
    except OSError as error:
        raise Invalid(f"{path} cannot be read ({error.strerror}): it has to be a file of yours") from error


def enrolled(path: Path) -> Credentials:
    """Like ``load``, but there must be a server to talk to."""
    credentials = load(path)
    if credentials is None:
        raise Unauthorized("no server is set up: run `devflow sync init URL`")
    return credentials


def save(path: Path, credentials: Credentials) -> None:
    """Durable and readable by its owner only; a reader sees the old file or the new one.

    Tokens rotate, so whoever reads, asks the server and saves does it inside ``changing``, as
    does everybody who saves.
    """
    _forget_half_written(path)
    # mkstemp makes the file with mode 0600.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(credentials)))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    _sync_folder(path.parent)


def _forget_half_written(path: Path) -> None:
    """A process that was killed while it saved has left its tokens beside the file."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # Without it a power cut may bring back the old name, and with it a refresh token already used.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Only one process at a time: a refresh token used twice looks stolen, and the server ends it."""
    from filelock import FileLock

    with FileLock(f"{path}.lock", mode=0o600):
        yield


def checked_url(url: str, *, insecure_http: bool) -> str:
    """The server's address without a slash at its end; raise Invalid for one not to be trusted.

    Plain http lets everybody on the way read the password, so it is only for this PC
    itself unless the developer says otherwise.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is no number raises here
    except ValueError as error:
        raise Invalid(
            f"expected an address like https://devflow.example.org, got {url!r}: {error}"
        ) from error
    if parts.scheme not in ("https", "http") or not host:
        raise Invalid(f"expected an address like https://devflow.example.org, got {url!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise Invalid("expected a server address without user name, query and fragment")
    if parts.scheme == "http" and not insecure_http and not _is_loopback(host):
        raise Invalid(
            f"expected https, got plain http to {host}: anybody on the way could read your password"
            " (--insecure-http if you accept that)"
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
