"""What a TLS server on loopback speaks, asked by an OpenSSL old enough to speak what nobody should."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

from nassl._nassl import OpenSSLError
from nassl.legacy_ssl_client import LegacySslClient
from nassl.ssl_client import OpenSslVerifyEnum, OpenSslVersionEnum, SslClient

Version = OpenSslVersionEnum
OLD: Final = (Version.SSLV2, Version.SSLV3, Version.TLSV1, Version.TLSV1_1)
NEW: Final = (Version.TLSV1_2, Version.TLSV1_3)
# A handshake fails by an alert, or by the other end hanging up.
FAILED: Final = (OpenSSLError, OSError)
TIMEOUT_S: Final = 10


def accepted(port: int) -> set[Version]:
    """The versions of SSL and TLS that the server completes a handshake in."""
    return {version for version in (*OLD, *NEW) if _completes(port, version)}


def ciphers(port: int) -> set[str]:
    """The cipher suites of TLS 1.2 that the server takes, by their OpenSSL names."""
    with _client(port, Version.TLSV1_2) as client:
        client.set_cipher_list("ALL:COMPLEMENTOFALL")
        offered: list[str] = client.get_cipher_list()
    return {name for name in offered if _completes(port, Version.TLSV1_2, name)}


def compression(port: int) -> str | None:
    """How TLS 1.2 is compressed by a server that is offered zlib; then secrets show in lengths (CRIME)."""
    assert LegacySslClient.get_available_compression_methods() == ["zlib compression"]
    with _client(port, Version.TLSV1_2) as client:
        client.do_handshake()
        found: str | None = client.get_current_compression_method()
        return found


def renegotiates(port: int) -> bool:
    """Whether a client of TLS 1.2 can make the server begin anew on the same connection."""
    with _client(port, Version.TLSV1_2) as client:
        client.do_handshake()
        try:
            client.do_renegotiate()
        except FAILED:
            return False
        return True


def _completes(port: int, version: Version, suites: str = "ALL") -> bool:
    with _client(port, version) as client:
        if version not in (Version.SSLV2, Version.TLSV1_3):  # these have lists of their own
            client.set_cipher_list(suites)
        try:
            client.do_handshake()
        except FAILED:
            return False
        return True


@contextlib.contextmanager
def _client(port: int, version: Version) -> Iterator[Any]:
    """A connection before its handshake: a LegacySslClient, or for TLS 1.3, which it lacks, an SslClient."""
    kind = SslClient if version is Version.TLSV1_3 else LegacySslClient
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        yield kind(connection, version, OpenSslVerifyEnum.NONE)
