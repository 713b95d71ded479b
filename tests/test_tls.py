"""TLS by certificate files: what is spoken, what is refused, mistakes in the files, and renewal."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from devflow import healthcheck, tls
from devflow.errors import Invalid
from tests import certificates, tls_scanner
from tests.certificates import Files
from tests.cli import Cli
from tests.repo import Repo
from tests.server_process import ServerProcess
from tests.tls_scanner import Version
from tests.visitor import EMAIL, Visitor, enrol

NOW = datetime(2026, 11, 19, tzinfo=UTC)
ALLOW_CLIENT_RENEGOTIATION = 1 << 8  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION, which the ssl module does not name


@pytest.fixture
def certificate(tmp_path: Path) -> Files:
    return certificates.make(tmp_path / "tls")


@pytest.fixture
def secure(tmp_path: Path, certificate: Files) -> Iterator[ServerProcess]:
    """A running server that speaks TLS itself."""
    server = ServerProcess(f"sqlite:///{tmp_path / 'devflow.db'}", tmp_path / "data", certificate=certificate)
    server.start()
    yield server
    if server.is_running:
        assert server.stop() == 0
    assert "Traceback" not in server.printed()


@contextmanager
def weak_server(certificate: Files) -> Iterator[int]:
    """The port of a server that takes all that the system's OpenSSL has left."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.options = (context.options & ~ssl.OP_NO_RENEGOTIATION) | ALLOW_CLIENT_RENEGOTIATION
    context.load_cert_chain(certificate.cert, certificate.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=_accept, args=(listener, context))
        serving.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        serving.join()


def _accept(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.recv(1)
        except OSError:
            connection.close()


def test_only_tls_1_2_and_1_3_are_spoken(secure: ServerProcess) -> None:
    assert secure.port is not None
    assert tls_scanner.accepted(secure.port) == {Version.TLSV1_2, Version.TLSV1_3}
    assert requests.get(f"{secure.url}/healthz", timeout=10, verify=_authority(secure)).ok


def test_of_tls_1_2_only_forward_secret_authenticated_ciphers_are_taken(secure: ServerProcess) -> None:
    assert secure.port is not None
    taken = tls_scanner.ciphers(secure.port)
    assert taken
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "POLY1305" in name) for name in taken), taken
    assert tls_scanner.compression(secure.port) is None
    assert not tls_scanner.renegotiates(secure.port)


def test_the_scanner_finds_what_is_wrong_with_a_weak_server(certificate: Files) -> None:
    with weak_server(certificate) as port:
        assert {Version.TLSV1, Version.TLSV1_1} < tls_scanner.accepted(port)
        assert "ECDHE-ECDSA-AES256-SHA" in tls_scanner.ciphers(port)
        assert tls_scanner.renegotiates(port)


@pytest.mark.parametrize(
    ("version", "first_bytes"),
    [
        (Version.SSLV2, (2, b"\x01\x00\x02")),  # after the length: client hello, version 0.2
        (Version.SSLV3, (0, b"\x16\x03\x00")),  # handshake record, version 3.0
        (Version.TLSV1, (9, b"\x03\x01")),
        (Version.TLSV1_1, (9, b"\x03\x02")),
    ],
)
def test_the_scanner_really_says_the_old_versions(version: Version, first_bytes: tuple[int, bytes]) -> None:
    """No OpenSSL at hand can serve SSL 2 and 3, so what is sent has to show that they were asked for."""
    at, expected = first_bytes
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sent: list[bytes] = []
        hearing = threading.Thread(target=lambda: sent.append(_hello(listener)))
        hearing.start()
        assert not tls_scanner._completes(listener.getsockname()[1], version)
        hearing.join()
    assert sent[0][at : at + len(expected)] == expected


def _hello(listener: socket.socket) -> bytes:
    connection, _ = listener.accept()
    with connection:
        return connection.recv(1_000)


def test_plain_http_to_the_tls_port_gets_no_page(secure: ServerProcess) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(secure.url.replace("https:", "http:") + "/sign-in", timeout=10)


def test_the_agent_reports_over_tls_to_a_server_with_a_certificate_of_the_house(
    secure: ServerProcess, tmp_path: Path
) -> None:
    repo = Repo(tmp_path / "shop")
    repo.git("config", "user.email", EMAIL)
    repo.write("shop.py", "one\n")
    repo.commit()
    cli = Cli(tmp_path / "home", repo.path)
    with requests.Session() as http:
        http.trust_env = False  # else REQUESTS_CA_BUNDLE, where these tests run, would come before
        http.verify = _authority(secure)
        visitor = Visitor(secure, http)
        visitor.set_up()
        cli.ok("init")
        assert "certificate was not accepted" in cli.fails(4, "sync", "init", secure.url)
        cli.env["REQUESTS_CA_BUNDLE"] = _authority(secure)
        page = enrol(cli, visitor)
        cli.ok("import", "git")
        cli.ok("sync", "push")
        assert visitor.figures(page)["Commits"] == "1"


def test_a_renewed_certificate_is_taken_up_without_a_restart(
    secure: ServerProcess, certificate: Files, tmp_path: Path
) -> None:
    renewed = certificates.make(tmp_path / "renewed")
    before = _served(secure)
    assert before == _pem(certificate.cert)
    shutil.copyfile(renewed.cert, certificate.cert)
    assert _served(secure) == before, "a certificate without its key is not taken"
    shutil.copyfile(renewed.key, certificate.key)
    assert _served(secure) == _pem(renewed.cert)
    assert secure.printed().count("the certificate stays the one before") == 1


def test_the_health_check_of_the_image_works_with_tls_and_without(
    secure: ServerProcess, certificate: Files
) -> None:
    port = str(secure.port)
    assert healthcheck.ask(certificate.environ, port) is None
    assert "healthz" in str(healthcheck.ask({}, port))
    secure.stop()
    assert "refused" in str(healthcheck.ask(certificate.environ, port))


def _damaged(files: Files, what: str) -> Files:
    match what:
        case "no file":
            files.cert.unlink()
        case "a folder":
            files.cert.unlink()
            files.cert.mkdir()
        case "no certificate":
            files.cert.write_text("certificate")
        case "no key":
            files.key.write_bytes(files.cert.read_bytes())
        case "another key":
            files.key.write_bytes(certificates.make(files.key.parent / "other").key.read_bytes())
        case "a passphrase":
            files.key.write_bytes(
                certificates.make(files.key.parent / "other", passphrase="x").key.read_bytes()
            )
    return files


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("no file", "DEVFLOW_TLS_CERT: expected a file to read, got .*cert.pem: No such file"),
        ("a folder", "DEVFLOW_TLS_CERT: expected a file to read, got .*cert.pem: Is a directory"),
        ("no certificate", "DEVFLOW_TLS_CERT: expected a PEM certificate, got something else in .*cert.pem"),
        ("no key", "DEVFLOW_TLS_KEY: expected a PEM private key, got something else in .*key.pem"),
        ("another key", "DEVFLOW_TLS_KEY: expected the key of the certificate in .*cert.pem, got another"),
        (
            "a passphrase",
            "DEVFLOW_TLS_KEY: expected a key without a passphrase, got one with it in .*key.pem",
        ),
    ],
)
def test_what_is_wrong_with_the_files_is_named(certificate: Files, what: str, sentence: str) -> None:
    damaged = _damaged(certificate, what)
    with pytest.raises(Invalid, match=sentence):
        tls.check(damaged.cert, damaged.key, NOW)


def test_wrong_files_stop_the_start_with_a_sentence(tmp_path: Path, certificate: Files) -> None:
    certificate.key.unlink()
    server = ServerProcess(f"sqlite:///{tmp_path / 'devflow.db'}", tmp_path / "data", certificate=certificate)
    with pytest.raises(RuntimeError, match="devflow cannot start: DEVFLOW_TLS_KEY: expected a file to read"):
        server.start()
    assert "Traceback" not in server.printed()


@pytest.mark.parametrize(
    ("age_days", "warning"),
    [(1, None), (400, "expired on 2026-10-15"), (-1, "not valid before 2026-11-20")],
)
def test_a_certificate_out_of_its_time_is_warned_of(
    tmp_path: Path, age_days: int, warning: str | None
) -> None:
    files = certificates.make(tmp_path, begins=NOW - timedelta(days=age_days))
    found = tls.check(files.cert, files.key, NOW)
    assert found is None if warning is None else warning in str(found)


def test_an_expired_certificate_is_still_served_and_the_log_says_why_nobody_comes(tmp_path: Path) -> None:
    files = certificates.make(tmp_path / "tls", begins=datetime.now(UTC) - timedelta(days=400))
    renewing = tls.Renewing(files.cert, files.key)
    assert renewing.current() is renewing.current()


def test_files_that_were_never_good_are_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    renewing = tls.Renewing(tmp_path / "cert.pem", tmp_path / "key.pem")
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match="No such file"):
        renewing.current()


def _authority(server: ServerProcess) -> str:
    assert server.certificate is not None
    return str(server.certificate.authority)


def _served(server: ServerProcess) -> str:
    """The certificate that the server shows to a new connection."""
    assert server.port is not None
    return ssl.get_server_certificate(("127.0.0.1", server.port), timeout=10)


def _pem(file: Path) -> str:
    return file.read_text()
