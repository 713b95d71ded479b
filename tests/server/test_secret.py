"""The operator's secret: which are taken, how one is made, and what a start says of the others."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from devflow import audit, secret, workspace
from devflow.accounts import people
from devflow.audit import Act
from devflow.config import Settings
from devflow.context import Context
from devflow.crypto import KDF_ITERATIONS
from devflow.db import Database
from devflow.errors import Invalid
from devflow.models import AuditEntry, Key, Person, Workspace
from tests import build
from tests.build import NOW_MS, World

GOOD = build.SECRET
OTHER = "n8Zr-3bXq_W5yKdT1mGv6LpHs9Cf2JwE"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("short", "at least 32 characters, got 5"),
        (GOOD[:31], "at least 32 characters, got 31"),
        ("a" * 40, "1 different characters"),
        ("abcdefghi" * 5, "9 different characters"),
        ("kV3m9-Qx7_tB2w" * 3, "repeats its first 14 characters"),
        (GOOD * 2 + GOOD[:10], "repeats its first 32 characters"),
        ("change-me-" + GOOD, "stands in examples"),
        ("MySuperSecretKey-" + GOOD, "stands in examples"),
        ("0123456789" + GOOD, "stands in examples"),
        (GOOD + "\n", "white space"),
        (" " + GOOD, "white space"),
        (GOOD + "\udcff", "UTF-8"),
    ],
)
def test_a_poor_secret_is_refused_by_name_and_not_shown(given: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        secret.check(given, "DEVFLOW_SECRET_KEY")
    assert str(caught.value).startswith("DEVFLOW_SECRET_KEY: expected ")
    assert given not in str(caught.value)


@pytest.mark.parametrize(
    "given", [GOOD, OTHER, hashlib.sha256(b"it").hexdigest(), "päßwört ist anders als dieses: 7Q"]
)
def test_a_random_secret_is_taken(given: str) -> None:
    assert secret.check(given, "it") == given.encode()


def test_a_first_start_makes_a_secret_that_only_its_owner_reads_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    settings = Settings(data_dir=str(folder))
    workspace.prepare(settings, NOW_MS)
    file = folder / "secret.key"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]
    assert len(file.read_bytes()) == 32
    assert [path.name for path in folder.glob("*secret*")] == ["secret.key"]
    (told,) = warnings(caplog)
    assert str(file) in told and "Back it up" in told and "without it nobody can sign in" in told
    workspace.prepare(settings, NOW_MS)
    assert len(warnings(caplog)) == 1


def test_a_secret_is_never_made_over_another(tmp_path: Path) -> None:
    made = secret.make(tmp_path)
    with pytest.raises(FileExistsError):
        secret.make(tmp_path)
    assert secret.read(tmp_path / secret.FILE) == made
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_file_that_others_may_read_stops_the_start(settings: Settings, mode: int) -> None:
    file = settings.data_path / "secret.key"
    file.chmod(mode)
    assert refusal(settings) == (
        f"{file}: expected a file that only its owner may read, got mode {mode:o}; chmod 600 it"
    )


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(31)), bytes(range(33)), bytes(32)])
def test_a_damaged_file_stops_the_start(settings: Settings, content: bytes) -> None:
    (settings.data_path / "secret.key").write_bytes(content)
    assert "secret.key: expected 32 random bytes, the file is damaged; restore it" in refusal(settings)


def test_a_database_whose_secret_is_gone_stops_the_start_and_no_new_one_is_made(settings: Settings) -> None:
    (settings.data_path / "secret.key").unlink()
    said = refusal(settings)
    assert str(settings.data_path / "secret.key") in said and "found neither" in said
    assert not (settings.data_path / "secret.key").exists()


def test_another_secret_than_the_databases_stops_the_start(settings: Settings) -> None:
    file = settings.data_path / "secret.key"
    file.write_bytes(os.urandom(32))
    assert f"got another one from {file}" in refusal(settings)
    assert "got another one from DEVFLOW_SECRET_KEY and " in refusal(replace(settings, secret_key=OTHER))


def test_keys_that_are_damaged_or_missing_are_not_taken_for_a_wrong_secret(settings: Settings) -> None:
    database = Database(settings.database)
    with database.writing() as session:
        session.execute(update(Key).where(Key.id == 2).values(sealed=b"\0" * 60))
    assert "of 3 these are damaged: 2" in refusal(settings)
    with database.writing() as session:
        session.execute(delete(Key))
    assert "found not all of them" in refusal(settings)
    database.close()


def test_a_secret_moves_from_file_to_environment_to_another_and_back_and_all_stays_readable(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    folder = settings.data_path
    steps = [
        replace(settings, secret_key=GOOD),
        replace(settings, secret_key=OTHER, old_secret_key=GOOD),
        replace(settings, old_secret_key=OTHER),
        settings,
    ]
    for step in steps:
        if step.secret_key:
            assert readable(step)
            (folder / "secret.key").unlink(missing_ok=True)
            continue
        assert readable(step)
    (folder / "secret.key").rename(folder / "secret.key.old")
    assert readable(settings)
    (folder / "secret.key.old").unlink()
    assert readable(settings)
    assert sum("no longer needed" in each for each in warnings(caplog)) == 4
    context = Context.open(settings)
    with context.database.reading() as session:
        changes = session.scalars(select(AuditEntry).where(AuditEntry.act == Act.SECRET_CHANGED)).all()
        assert (len(changes), audit.verify(session, context.vault)) == (4, None)
    context.database.close()


def test_a_new_file_is_made_only_once_the_old_secret_has_proved_right(settings: Settings) -> None:
    folder = settings.data_path
    (folder / "secret.key").rename(folder / "kept")
    (folder / "secret.key.old").write_bytes(os.urandom(32))
    (folder / "secret.key.old").chmod(0o600)
    assert "got another one" in refusal(settings)
    assert not (folder / "secret.key").exists()


def test_a_low_count_of_iterations_rises_at_the_start(database: Database, tmp_path: Path) -> None:
    world = World.on(database)
    world.person("Ada")
    settings = Settings(
        data_dir=str(tmp_path / "data"), database_url=str_url(database), secret_key=build.SECRET
    )
    workspace.prepare(settings, NOW_MS)
    with database.reading() as session:
        row = session.get_one(Workspace, 1)
        assert (row.kdf_iterations, len(row.kdf_salt)) == (KDF_ITERATIONS, 16)
    context = Context.open(settings)
    with context.database.reading() as session:
        assert people.email_of(context.vault, session.scalars(select(Person)).one()) == "ada@example.org"
    context.database.close()


def test_what_holds_secrets_does_not_show_them(settings: Settings) -> None:
    workspace.prepare(replace(settings, secret_key=GOOD), NOW_MS)
    given = replace(settings, secret_key=GOOD, old_secret_key=OTHER)
    context = Context.open(given)
    shown = f"{context!r} {context} {context.vault!r} {context.vault.ring!r} {given!r} {secret.find(given)!r}"
    ring = context.vault.ring
    held = [GOOD.encode(), OTHER.encode(), (settings.data_path / "secret.key").read_bytes()]
    held += [*ring.fields.values(), *ring.tokens.values(), ring.hashes]
    for each in held:
        assert each.hex() not in shown and repr(each)[2:-1] not in shown
    assert "Vault(" in shown and "zone" in shown
    context.database.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a workspace that was set up with a secret in a file."""
    settings = Settings(data_dir=str(tmp_path / "data"))
    workspace.prepare(settings, NOW_MS)
    context = Context.open(settings)
    World.of(context).person("Ada")
    context.database.close()
    return settings


def readable(settings: Settings) -> bool:
    """Whether a start goes well, and what was sealed before can be read."""
    workspace.prepare(settings, NOW_MS)
    context = Context.open(settings)
    with context.database.reading() as session:
        found = people.email_of(context.vault, session.scalars(select(Person)).one())
    context.database.close()
    return found == "ada@example.org"


def refusal(settings: Settings) -> str:
    with pytest.raises(Invalid) as caught:
        workspace.prepare(settings, NOW_MS)
    return str(caught.value)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name == "devflow.keys"
    ]


def str_url(database: Database) -> str:
    url = database.engine.url.render_as_string(hide_password=False)
    return url.replace("postgresql+psycopg:", "postgresql:")
