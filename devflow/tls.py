"""TLS by certificate files: checked at the start, and taken up again when they were renewed."""

from __future__ import annotations

import logging
import ssl
import threading
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from devflow.errors import Invalid

# Of TLS 1.2 only what has forward secrecy and authenticates what it encrypts; 1.3 has nothing else.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
CERT: Final = "DEVFLOW_TLS_CERT"
KEY: Final = "DEVFLOW_TLS_KEY"
_log = logging.getLogger(__name__)
_Stamp = tuple[tuple[int, int, int], ...]


def check(cert: Path, key: Path, now: datetime) -> str | None:
    """Raise Invalid naming the file and what is wrong with it; return a warning if its time is not now.

    An expired certificate is still served: who comes sees why, and nobody learns to do without TLS.
    """
    leaf = _certificate(cert)
    _check_key(key, leaf, cert)
    try:
        context(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise Invalid(f"{CERT}: expected a certificate that OpenSSL serves, got {cert}: {error}") from error
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > last:
        return f"{CERT}: the certificate in {cert} expired on {last:%Y-%m-%d}: browsers and agents refuse it"
    if now < first:
        return f"{CERT}: the certificate in {cert} is not valid before {first:%Y-%m-%d}"
    return None


def context(cert: Path, key: Path) -> ssl.SSLContext:
    """What a server may speak: TLS 1.2 and 1.3, with no compression and no renegotiation."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_ciphers(CIPHERS)
    # Who wants another protocol is not led to believe that this is it (ALPACA).
    made.set_alpn_protocols(["http/1.1"])
    # A key with a passphrase is an error, not a question on the terminal.
    made.load_cert_chain(cert, key, password=lambda: "")
    return made


class Renewing:
    """The context for the next connection, made of the files as they are now.

    Two files cannot be replaced at once: while they do not fit each other, the ones before serve.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        self._lock = threading.Lock()
        self._stamp: _Stamp = ()
        self._context: ssl.SSLContext | None = None

    def current(self) -> ssl.SSLContext:
        """Raise OSError if the files were never good."""
        with self._lock:
            stamp = self._stamp_now()
            if self._context is None:
                self._context, self._stamp = context(*self._files), stamp
            elif stamp != self._stamp:
                self._stamp = stamp  # before what may fail: bad files are complained of once
                self._context = self._renewed(self._context)
            return self._context

    def _renewed(self, before: ssl.SSLContext) -> ssl.SSLContext:
        try:
            return context(*self._files)
        except OSError as error:  # ssl.SSLError is one
            _log.warning("the certificate stays the one before: %s: %s", self._files[0], error)
            return before

    def _stamp_now(self) -> _Stamp:
        try:
            found = [file.stat() for file in self._files]
        except OSError:
            return ()
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)


def _certificate(cert: Path) -> x509.Certificate:
    """The first one in the file, which is the server's own."""
    try:
        return x509.load_pem_x509_certificates(_bytes(CERT, cert))[0]
    except ValueError as error:
        raise Invalid(f"{CERT}: expected a PEM certificate, got something else in {cert}") from error


def _check_key(key: Path, leaf: x509.Certificate, cert: Path) -> None:
    try:
        found = load_pem_private_key(_bytes(KEY, key), password=None)
    except TypeError as error:
        raise Invalid(f"{KEY}: expected a key without a passphrase, got one with it in {key}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(f"{KEY}: expected a PEM private key, got something else in {key}") from error
    if found.public_key() != leaf.public_key():
        raise Invalid(f"{KEY}: expected the key of the certificate in {cert}, got another one in {key}")


def _bytes(env: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"{env}: expected a file to read, got {file}: {error.strerror}") from error
