"""What lies on the disk: nobody who takes the files finds in them what is sealed or hashed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from devflow import crypto, keys, sealed, wire
from devflow.accounts import people
from devflow.audit import Actor
from devflow.context import Context
from devflow.keys import Purpose
from devflow.models import Person, RecoveryCode, Role, SecondFactor
from tests import build
from tests.browsing import Browser
from tests.build import World

TOTP = "JBSWY3DPEHPK3PXPJBSWY3DP"
RECOVERY = "mellow-otter-9271-quartz"
EMAIL = "marker.address@example.org"
PASSWORD = "marker battery staple"
PLAIN = "atlas-is-plain"


@pytest.fixture
def context(tmp_path: Path, database_url: str) -> Iterator[Context]:
    opened, _ = build.context(tmp_path / "data", database_url=database_url)
    yield opened
    opened.database.close()


def test_no_secret_or_sealed_text_is_found_in_the_files_of_the_database(context: Context) -> None:
    markers = live(context)
    found = {marker: place for place, content in files(context) for marker in markers if marker in content}
    assert found == {}
    # The scan does find what is not sealed, so it looks where rows are.
    assert any(PLAIN.encode() in content for _, content in files(context))


def live(context: Context) -> list[bytes]:
    """Let a person do what leaves something secret behind, and somebody replace the keys; return it all."""
    world = World.of(context)
    who = people.newcomer(name="Ada", email=EMAIL, password=PASSWORD)
    with context.database.writing() as session:
        people.create(session, world.by(session), who, Role.ADMIN)
    ada = world.member("Ada")
    client = build.app(context).test_client()
    cookie = session_cookie(Browser(client))
    tokens = client.post(
        "/auth/login",
        json={"email": EMAIL, "password": PASSWORD, "deviceId": str(ada.device_id), "deviceName": "a PC"},
    ).get_json()
    renewed = client.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]}).get_json()
    remember_codes(world, ada)
    project = world.project(PLAIN, ada)
    paths = [f"marker-folder-{n}/marker-file-{n}.py" for n in range(20)]
    world.report(
        ada,
        project,
        *((build.NOW_MS + n, build.saved(path)) for n, path in enumerate(paths)),
        (build.NOW_MS, build.commit(ada.author, "marker-folder-x/in-a-commit.py")),
        (build.NOW_MS, wire.BranchCreated(branch="marker-branch/secret-plan", sha="a" * 40)),
    )
    context.database.transact(lambda session: keys.rotate(session, world.by(session, ada), Purpose.FIELDS))
    while sealed.step(context.database, Actor(None, build.NOW_MS, context.vault), context.resealing):
        pass
    # The parts of a token that are not secret - its header - are left out.
    secret_parts = [
        each[name].rpartition(".")[2] for each in (tokens, renewed) for name in ("token", "refreshToken")
    ]
    said = [EMAIL, "marker.address", PASSWORD, TOTP, RECOVERY, cookie, *paths, *secret_parts]
    said += ["marker-folder", "in-a-commit", "marker-branch", "secret-plan"]
    assert all(len(each) > 10 for each in said)
    ring = context.vault.ring
    return [
        *(each.encode() for each in said),
        *ring.fields.values(),
        *ring.tokens.values(),
        ring.hashes,
        (context.settings.data_path / "secret.key").read_bytes(),
    ]


def session_cookie(browser: Browser) -> str:
    assert browser.post("/sign-in", email=EMAIL, password=PASSWORD).status_code == 302
    cookie = browser.client.get_cookie("devflow")
    assert cookie is not None
    return cookie.value


def remember_codes(world: World, member: build.Member) -> None:
    with world.database.writing() as session:
        person = session.get_one(Person, member.id)
        factor = world.vault.seal(sealed.SECRET, person.public_id.bytes, TOTP.encode())
        session.add(SecondFactor(person_id=person.id, secret=factor, confirmed_at=1, last_step=0))
        session.add(RecoveryCode(code_hash=crypto.token_hash(RECOVERY), person_id=person.id))


def files(context: Context) -> Iterator[tuple[str, bytes]]:
    """Every file of the database, write-ahead log and all, as it lies on the disk right now."""
    if context.database.is_sqlite:
        main = Path(str(context.database.engine.url.database))
        assert main.with_name(f"{main.name}-wal").stat().st_size > 0
        places = sorted(main.parent.glob(f"{main.name}*"))
    else:
        with context.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))
            home = Path(connection.scalar(text("SHOW data_directory")))
            number = connection.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
        places = [*(home / "base" / str(number)).iterdir(), *(home / "pg_wal").iterdir()]
    for place in places:
        if place.is_file():
            yield place.name, place.read_bytes()
