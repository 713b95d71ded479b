"""``devflow sync test``, and what may stand between a PC and its server: bad certificates, proxies."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from devflow.errors import Invalid, Offline
from devflow_agent import connection, credentials, probing
from devflow_agent.config import now_ms
from devflow_agent.connection import Connection
from devflow_agent.live import Live
from devflow_agent.probing import Check, State
from devflow_agent.settings import Settings
from devflow_agent.sync import Pushed, push
from tests import certificates
from tests.agent.outbox import Outbox
from tests.agent.scripted_server import Answer, ScriptedServer, Seen, problem, wait_for
from tests.agent.scripted_stream import ScriptedStreams
from tests.certificates import Files
from tests.cli import Cli
from tests.connect_proxy import ConnectProxy
from tests.visitor import within

STEPS = [
    *("set-up", "proxy", "name", "connection", "tls", "identity", "protocol", "clock", "credentials"),
    *("permission shop", "round trip"),
]
HOSTILE = "\x1b[2J\u202eevil"
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in connection.CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lasting() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def probed(box: Outbox, at_ms: int | None = None) -> dict[str, Check]:
    with Connection.of(box.store) as session:
        found = probing.probe(box.home, box.store, session, at_ms or now_ms())
        return {check.name: check for check in found}


def sent(box: Outbox) -> Pushed:
    """What a push does by the connection that the command line and the daemon use."""
    with Connection.of(box.store) as session:
        return push(box.home, box.store, session)


def only(checks: dict[str, Check], state: State) -> list[str]:
    return [check.name for check in checks.values() if check.state == state]


def at(box: Outbox, url: str) -> None:
    """Let the PC report to this address instead."""
    server = credentials.enrolled(box.home.credentials)
    credentials.save(box.home.credentials, msgspec.structs.replace(server, server_url=url))


def spoken(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return context


def spoken_of_old(files: Files) -> ssl.SSLContext:
    context = spoken(files)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def secured(lasting: ExitStack, folder: Path, context: ssl.SSLContext, authority: Path | None) -> Outbox:
    """A PC whose server speaks TLS; it trusts this authority alone."""
    server = lasting.enter_context(ScriptedServer(context).running())
    box = Outbox.signed_in(folder / "home", server)
    if authority is not None:
        box.store.set_settings(sync_ca_file=str(authority))
    return box


# When all is well


def test_every_step_holds_and_nothing_is_stored(outbox: Outbox, server: ScriptedServer) -> None:
    outbox.record(3)
    found = probed(outbox)
    assert list(found) == STEPS
    assert only(found, State.OK) == STEPS
    assert server.stored == {}
    (upload,) = server.uploads
    assert upload.json["events"] == []
    assert "DevFlow-Sync" not in upload.headers
    assert outbox.statuses() == {"pending": 3}


def test_the_certificate_is_told_by_version_signer_and_days(lasting: ExitStack, tmp_path: Path) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    assert probed(box)["tls"].says == "TLSv1.3, signed by a test's authority, good for 363 more days"
    soon = NOW + timedelta(days=360)
    warned = probed(box, round(soon.timestamp() * 1000))
    assert (warned["tls"].state, warned["round trip"].state) == (State.WARNING, State.OK)
    assert "renews the certificate before" in warned["tls"].next_step
    box.record(2)
    assert sent(box) == Pushed(synced=2)


def test_the_command_line_says_each_step_and_ends_well(outbox: Outbox, tmp_path: Path) -> None:
    cli = Cli(outbox.home.path, tmp_path)
    lines = cli.ok("sync", "test").splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * len(STEPS)
    assert [check["check"] for check in cli.json("sync", "test")] == STEPS
    cli.fails(2, "sync", "test", "now")


# What goes wrong before anybody is reached


def test_without_a_server_or_an_account_the_exit_code_is_3(outbox: Outbox, tmp_path: Path) -> None:
    cli = Cli(outbox.home.path, tmp_path)
    server = credentials.enrolled(outbox.home.credentials)
    credentials.save(outbox.home.credentials, msgspec.structs.replace(server, account=None))
    done = cli.run("sync", "test")
    assert done.returncode == 3
    assert "`devflow sync auth`" in done.stdout
    assert "not tried  round trip" in done.stdout
    outbox.home.credentials.unlink()
    assert cli.run("sync", "test").returncode == 3
    outbox.home.credentials.write_text("{")
    assert cli.run("sync", "test").returncode == 2
    credentials.save(
        outbox.home.credentials, msgspec.structs.replace(server, server_url="http://example.org")
    )
    refused = cli.run("sync", "test", "--json")
    assert refused.returncode == 2
    assert "expected https, got plain http" in refused.stdout


def test_a_name_that_is_none_and_a_port_without_anybody(outbox: Outbox) -> None:
    at(outbox, "https://nowhere.invalid")
    found = probed(outbox)
    assert only(found, State.FAILED) == ["name"]
    assert found["round trip"].state == State.NOT_TRIED
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    at(outbox, f"https://127.0.0.1:{port}")
    found = probed(outbox)
    assert only(found, State.FAILED) == ["connection"]
    assert "firewall" in found["connection"].next_step


def test_nothing_is_sent_by_plain_http_to_another_pc_unless_that_was_said(outbox: Outbox) -> None:
    outbox.record(1)
    at(outbox, "http://devflow.invalid")
    with pytest.raises(Invalid, match="expected https, got plain http"):
        sent(outbox)
    server = credentials.enrolled(outbox.home.credentials)
    credentials.save(outbox.home.credentials, msgspec.structs.replace(server, insecure_http=True))
    with pytest.raises(Offline):
        sent(outbox)
    assert outbox.statuses() == {"pending": 1}


# TLS that is not to be trusted


@pytest.mark.parametrize(
    ("kind", "says", "next_step"),
    [
        ("expired", "certificate has expired", "check this PC's clock"),
        ("not yet", "certificate is not yet valid", "check this PC's clock"),
        ("self-signed", "self-signed certificate", "--ca-file"),
        ("unknown signer", "unable to get local issuer certificate", "--ca-file"),
        ("another host", "IP address mismatch", "by a name that the certificate is for"),
        ("TLS 1.1", "no TLS 1.2 or newer", "the server's operator"),
        ("no TLS", "no TLS 1.2 or newer", "the server's operator"),
    ],
)
def test_not_one_request_gets_to_a_server_that_is_not_to_be_trusted(
    lasting: ExitStack, tmp_path: Path, kind: str, says: str, next_step: str
) -> None:
    folder, trusted = tmp_path / "tls", certificates.make(tmp_path / "trusted").authority
    match kind:
        case "expired":
            files = certificates.make(folder, begins=NOW - timedelta(days=400))
        case "not yet":
            files = certificates.make(folder, begins=NOW + timedelta(days=2))
        case "self-signed":
            files = replace(certificates.self_signed(folder), authority=trusted)
        case "unknown signer":
            files = replace(certificates.make(folder), authority=trusted)
        case "another host":
            files = certificates.make(folder, names=certificates.ELSEWHERE)
        case _:
            files = certificates.make(folder)
    context = spoken_of_old(files) if kind == "TLS 1.1" else spoken(files)
    box = secured(lasting, tmp_path, context, files.authority)
    if kind == "no TLS":
        plain = lasting.enter_context(ScriptedServer().running())
        at(box, plain.url.replace("http:", "https:"))
    box.record(2)
    with pytest.raises(Offline):
        sent(box)
    found = probed(box)
    assert only(found, State.FAILED) == ["tls"]
    assert says in found["tls"].says
    assert next_step in found["tls"].next_step
    assert found["round trip"].state == State.NOT_TRIED
    assert box.server.seen == [], "not a token, not an event, not a question"
    assert box.statuses() == {"pending": 2}
    assert Cli(box.home.path, tmp_path).run("sync", "test").returncode == 4


def test_a_certificate_that_verifies_is_not_trusted_without_its_authority(
    lasting: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificates.make(tmp_path / "tls")
    other = certificates.make(tmp_path / "other")
    box = secured(lasting, tmp_path, spoken(files), None)
    box.record(1)
    assert only(probed(box), State.FAILED) == ["tls"]
    for name in connection.CA_VARIABLES:
        with monkeypatch.context() as set_here:
            set_here.setenv(name, str(files.authority))
            assert only(probed(box), State.FAILED) == [], name
            box.store.set_settings(sync_ca_file=str(other.authority))
            assert only(probed(box), State.FAILED) == ["tls"], "what was set here goes before"
            with pytest.raises(Offline):
                sent(box)
            box.store.set_settings(sync_ca_file=None)
    box.store.set_settings(sync_ca_file=str(files.authority))
    assert sent(box) == Pushed(synced=1)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_of_authorities_that_is_none_is_named(
    lasting: ExitStack, tmp_path: Path, content: bytes | None
) -> None:
    broken = tmp_path / "ca.pem"
    if content is not None:
        broken.write_bytes(content)
    box = secured(lasting, tmp_path, spoken(certificates.make(tmp_path / "tls")), broken)
    box.record(1)
    found = probed(box)
    assert only(found, State.FAILED) == ["tls"]
    assert str(broken) in found["tls"].says
    with pytest.raises(Offline):
        sent(box)
    assert box.server.seen == []


# Proxies


@pytest.mark.parametrize("by", ["setting", "HTTPS_PROXY"])
def test_an_authenticating_proxy_is_passed(
    lasting: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy("ada", "s:cret@").running())
    address = f"http://ada:s%3Acret%40@{proxy.address}"
    if by == "setting":
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        box.store.set_settings(sync_proxy=address)
    else:
        monkeypatch.setenv("HTTPS_PROXY", address)
    box.record(2)
    assert sent(box) == Pushed(synced=2)
    assert proxy.let_through == 1
    found = probed(box)
    assert only(found, State.FAILED) == []
    assert found["proxy"].says.startswith(f"http://***@{proxy.address} (from ")
    assert all("s:cret" not in check.says and "s%3Acret" not in check.says for check in found.values())
    assert {line.split()[0] for line in proxy.asked} == {"CONNECT"}, "all it learns is where to"


def test_a_proxy_that_wants_a_password_says_so(lasting: ExitStack, tmp_path: Path) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy("ada", "secret").running())
    box.store.set_settings(sync_proxy=f"http://ada:guess@{proxy.address}")
    found = probed(box)
    assert only(found, State.FAILED) == ["tls"]
    assert "407" in found["tls"].says
    assert "put the proxy's user and password into sync_proxy" in found["tls"].next_step
    box.record(1)
    with pytest.raises(Offline, match="407"):
        sent(box)
    assert box.server.seen == []
    assert box.statuses() == {"pending": 1}


def test_a_proxy_that_is_spoken_to_by_tls_is_passed(lasting: ExitStack, tmp_path: Path) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy("ada", "secret", tls=spoken(files)).running())
    box.store.set_settings(sync_proxy=f"https://ada:secret@{proxy.address}")
    found = probed(box)
    assert only(found, State.FAILED) == []
    assert found["tls"].says.startswith("TLSv1.3, signed by a test's authority")
    box.record(1)
    assert sent(box) == Pushed(synced=1)
    streams = ScriptedStreams(box.server)
    stop = threading.Event()
    with Connection.of(box.store) as session:
        live = Live(box.home, box.store, session, lambda _: None, stop)
        thread = threading.Thread(target=live)
        thread.start()
        assert within(10, lambda: streams.opened == 1)
        box.record(1)
        assert within(10, lambda: box.statuses() == {"synced": 2})
        stop.set()
        thread.join()
    assert len(streams.ids) == 1
    assert proxy.let_through >= 3
    assert {line.split()[0] for line in proxy.asked} == {"CONNECT"}


def test_switching_it_off_cuts_an_upload_off_through_such_a_proxy(lasting: ExitStack, tmp_path: Path) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy(tls=spoken(files)).running())
    box.store.set_settings(sync_proxy=f"https://{proxy.address}")
    box.record(1)
    release = threading.Event()
    lasting.callback(release.set)

    def switched_off(server: ScriptedServer, seen: Seen) -> Answer:
        box.store.set_settings(sync_enabled=False)
        return wait_for(release)(server, seen) or Answer(500)

    box.server.script.append(switched_off)
    assert sent(box) == Pushed()
    assert not release.is_set(), "nobody waited for the answer"


def test_a_proxys_own_certificate_is_told_from_the_servers(lasting: ExitStack, tmp_path: Path) -> None:
    files, others = certificates.make(tmp_path / "tls"), certificates.make(tmp_path / "others")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy(tls=spoken(others)).running())
    box.store.set_settings(sync_proxy=f"https://{proxy.address}")
    found = probed(box)
    assert only(found, State.FAILED) == ["tls"]
    assert found["tls"].says.startswith("the proxy's certificate, not the server's: ")
    assert "the proxy's authority" in found["tls"].next_step
    box.store.set_settings(sync_ca_file=str(others.authority))
    found = probed(box)
    assert "proxy" not in found["tls"].says, "now it is the server's"
    assert box.server.seen == []


def test_a_plain_proxy_that_is_named_as_one_by_tls_is_told(lasting: ExitStack, tmp_path: Path) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy().running())
    box.store.set_settings(sync_proxy=f"https://{proxy.address}")
    found = probed(box)
    assert only(found, State.FAILED) == ["tls"]
    assert "the proxy does not speak TLS" in found["tls"].says
    assert "set sync_proxy to http://" in found["tls"].next_step
    assert box.server.seen == []


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS4"])
def test_a_proxy_by_socks_is_refused_in_words_and_loses_nothing(
    lasting: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    box.record(1)
    monkeypatch.setenv(name, f"{scheme}://ada:s3cret@127.0.0.1:1080")
    found = probed(box)
    assert only(found, State.FAILED) == ["proxy"]
    assert found["proxy"].says.startswith(f"{name} names a proxy by {scheme.lower()}, and only those by http")
    with pytest.raises(Offline, match="only those by http and https are supported") as refused:
        sent(box)
    assert "s3cret" not in str(refused.value) + found["proxy"].says
    assert box.statuses() == {"pending": 1}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert sent(box) == Pushed(synced=1)


def test_a_proxy_by_socks_is_no_setting() -> None:
    with pytest.raises(Invalid, match="one by SOCKS, and only those by http") as refused:
        Settings(sync_proxy="socks5://ada:s3cret@127.0.0.1:1080")
    assert "s3cret" not in str(refused.value)


def test_a_variable_may_name_a_proxy_without_http(
    lasting: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy().running())
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)
    assert only(probed(box), State.FAILED) == []
    box.record(1)
    assert sent(box) == Pushed(synced=1)


@pytest.mark.parametrize("answers", [(302, "https://login.example.org/"), (403, ""), (502, "")])
def test_a_proxy_that_redirects_or_refuses_is_not_followed(
    lasting: ExitStack, tmp_path: Path, answers: tuple[int, str]
) -> None:
    files = certificates.make(tmp_path / "tls")
    box = secured(lasting, tmp_path, spoken(files), files.authority)
    proxy = lasting.enter_context(ConnectProxy(answers=answers).running())
    box.store.set_settings(sync_proxy=f"http://{proxy.address}")
    box.record(1)
    with pytest.raises(Offline):
        sent(box)
    found = probed(box)
    assert only(found, State.FAILED) == ["tls"]
    assert str(answers[0]) in found["tls"].says
    assert "CONNECT" in found["tls"].next_step
    assert box.server.seen == []


def test_hosts_of_no_proxy_are_reached_without(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.store.set_settings(sync_proxy="http://127.0.0.1:1")
    outbox.record(1)
    assert only(probed(outbox), State.FAILED) == ["connection"]
    with pytest.raises(Offline):
        sent(outbox)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert probed(outbox)["proxy"].says == "none, by NO_PROXY"
    assert sent(outbox) == Pushed(synced=1)


def test_the_way_is_looked_up_anew_for_each_request(outbox: Outbox) -> None:
    outbox.record(2)
    with Connection.of(outbox.store) as session:
        outbox.store.set_settings(sync_proxy="http://127.0.0.1:1")
        with pytest.raises(Offline):
            push(outbox.home, outbox.store, session)
        outbox.store.set_settings(sync_proxy=None)
        assert push(outbox.home, outbox.store, session) == Pushed(synced=2)


def test_a_proxy_of_the_environment_that_is_none_is_named(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://[::1")
    found = probed(outbox)
    assert only(found, State.FAILED) == ["proxy"]
    assert "HTTP_PROXY" in found["proxy"].next_step


# Who answers


def answering(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, said: Answer, path: str = "") -> None:
    usual = server.answer

    def answer(seen: Seen) -> Answer | None:
        return said if seen.path.startswith(path) else usual(seen)

    monkeypatch.setattr(server, "answer", answer)


@pytest.mark.parametrize(
    "said",
    [
        Answer(200, b"<html>log in</html>", server=None),
        Answer(302, b"", {"Location": "https://login.example.org/"}, server=None),
        Answer(511, b"", server=None),
        Answer(200, b'{"projects": []}', server=None),
    ],
)
def test_a_captive_portal_is_told_from_the_server(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, said: Answer
) -> None:
    answering(server, monkeypatch, said)
    outbox.record(1)
    found = probed(outbox)
    assert only(found, State.FAILED) == ["identity"]
    assert "this network may want a log-in first" in found["identity"].next_step
    assert {seen.headers.get("Authorization") for seen in server.seen} == {None}, "no token for a stranger"
    assert outbox.statuses() == {"pending": 1}


def test_another_server_at_the_address_is_told(outbox: Outbox, server: ScriptedServer) -> None:
    server.calls_itself = str(uuid4())
    found = probed(outbox)
    assert only(found, State.FAILED) == ["identity"]
    assert server.calls_itself in found["identity"].says


@pytest.mark.parametrize(
    ("status", "step", "says"),
    [
        (426, "protocol", "does not speak protocol 1"),
        (503, "protocol", "answered 503"),
        (429, "protocol", "429"),
    ],
)
def test_a_server_that_cannot_now_or_not_any_more(
    outbox: Outbox,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    step: str,
    says: str,
) -> None:
    answering(server, monkeypatch, problem(status, "no"))
    found = probed(outbox)
    assert only(found, State.FAILED) == [step]
    assert says in found[step].says


def test_a_clock_that_is_off_is_a_warning_and_the_rest_is_tried(outbox: Outbox) -> None:
    found = probed(outbox, now_ms() + 3_600_000)
    assert (found["clock"].state, found["round trip"].state) == (State.WARNING, State.OK)
    assert "60 minutes ahead of" in found["clock"].says


def test_tokens_that_are_refused_say_to_sign_in(
    outbox: Outbox, server: ScriptedServer, tmp_path: Path
) -> None:
    server.token, server.refresh_refused = "another", True
    found = probed(outbox)
    assert only(found, State.FAILED) == ["credentials"]
    assert found["credentials"].next_step == "`devflow sync auth` signs in"
    assert Cli(outbox.home.path, tmp_path).run("sync", "test").returncode == 3


def test_a_project_that_one_may_not_send_to_is_named_and_the_round_trip_is_tried(
    outbox: Outbox, server: ScriptedServer, tmp_path: Path
) -> None:
    server.projects = [{"projectId": str(uuid4()), "name": "Till"}]
    found = probed(outbox)
    assert only(found, State.FAILED) == ["permission shop"]
    assert found["round trip"].state == State.OK
    assert Cli(outbox.home.path, tmp_path).run("sync", "test").returncode == 3


def test_a_round_trip_that_fails_is_offline(
    outbox: Outbox, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(server, monkeypatch, problem(503, HOSTILE), "/sync/events")
    found = probed(outbox)
    assert only(found, State.FAILED) == ["round trip"]
    assert found["round trip"].kind == probing.Kind.OFFLINE


def test_a_hostile_name_cannot_steer_the_terminal(
    outbox: Outbox, server: ScriptedServer, tmp_path: Path
) -> None:
    server.projects = []
    outbox.store.add_project(HOSTILE, Path("/src/x"), Path("/src/x/.git"), 0)
    hostile = next(one for one in outbox.store.projects() if one.name == HOSTILE)
    server.projects = [{"projectId": str(uuid4()), "name": HOSTILE}]
    outbox.link(hostile)
    text = Cli(outbox.home.path, tmp_path).run("sync", "test").stdout
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "you may send to" in text


def test_settings_go_before_the_environment_and_no_proxy_before_both(monkeypatch: pytest.MonkeyPatch) -> None:
    url, own = "https://devflow.example.org/sync", Settings(sync_proxy="http://own.example.org:80")
    assert connection.proxy_for(url, Settings()) == connection.Chosen(None, None)
    monkeypatch.setenv("https_proxy", "http://env.example.org:80")
    assert connection.proxy_for(url, Settings()).value == "http://env.example.org:80"
    assert connection.proxy_for(url, own).value == "http://own.example.org:80"
    assert connection.proxy_for("http://devflow.example.org", Settings()).value is None
    monkeypatch.setenv("no_proxy", ".example.org")
    assert connection.proxy_for(url, own).value is None
