"""Pairing: who lets a PC in by its code, what a lost answer costs, and what strangers cannot do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from devflow import audit, wire
from devflow.accounts import devices, pairing, sessions, tokens
from devflow.accounts.pairing import Started
from devflow.audit import Act, Actor
from devflow.errors import Invalid, Limited, NotFound, Unauthorized
from devflow.models import AuditEntry, Device, Grant, Pairing, Person
from devflow.wire import PairingState
from tests.build import MINUTE_MS, NOW_MS, Member, World

SERVER = uuid4()
LATER = NOW_MS + pairing.LIFETIME_MS


def start(world: World, device_id: UUID | None = None, *, name: str = "lap", at: int = NOW_MS) -> Started:
    by = Actor(None, at, world.vault)
    device_id = device_id or uuid4()
    return world.database.transact(lambda session: pairing.start(session, by, device_id, name))


def act(world: World, member: Member, work: Callable[[Session, Actor, str], object], code: str) -> None:
    """Approve or deny, now by the world's clock."""
    world.database.transact(lambda session: work(session, world.by(session, member), code) and None)


def look(world: World, member: Member, code: str) -> pairing.Waiting:
    with world.reading() as session:
        return pairing.look(session, world.by(session, member), code)


def state(world: World, begun: Started, at: int = NOW_MS) -> PairingState:
    with world.reading() as session:
        return pairing.state(session, begun.secret, at)


def collect(world: World, begun: Started, at: int = NOW_MS) -> wire.Tokens:
    by = Actor(None, at, world.vault)
    found = world.database.transact(lambda session: pairing.collect(session, by, begun.secret, SERVER))
    assert found.tokens is not None
    return found.tokens


def use(world: World, given: wire.Tokens) -> tokens.Bearer:
    with world.reading() as session:
        found = tokens.holder(session, tokens.claims(world.vault, given.token, SERVER), NOW_MS)
    if tokens.needs_confirming(found):
        world.database.transact(lambda writing: tokens.confirm(writing, found))
    return found


def trail(world: World) -> list[tuple[str, UUID | None, UUID | None]]:
    with world.reading() as session:
        assert audit.verify(session, world.vault) is None
        return [
            (entry.act, entry.actor, entry.subject)
            for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        ]


def test_a_pc_is_let_in_by_who_types_its_code(world: World) -> None:
    ada, device_id = world.person("Ada"), uuid4()
    before = len(trail(world))
    begun = start(world, device_id)
    assert state(world, begun) == "pending"
    waiting = look(world, ada, begun.code)
    assert (waiting.name, waiting.since_ms, waiting.device) == ("lap", NOW_MS, None)
    act(world, ada, pairing.approve, begun.code)
    assert state(world, begun) == "approved"
    found = use(world, collect(world, begun))
    assert found.device is not None
    assert (found.person.id, found.device.public_id, found.device.name) == (ada.id, device_id, "lap")
    assert trail(world)[before:] == [
        (Act.PAIRING_STARTED, None, device_id),
        (Act.DEVICE_ENROLLED, ada.public_id, device_id),
        (Act.PAIRING_APPROVED, ada.public_id, device_id),
        (Act.TOKENS_ISSUED, ada.public_id, device_id),
    ]


def test_a_code_is_read_as_people_type_it_and_is_no_word(world: World) -> None:
    ada, begun = world.person("Ada"), start(world)
    assert len(begun.code) == 9 and not set(begun.code) & set("AEIOUY0123456789")
    for typed in (begun.code.lower(), begun.code.replace("-", ""), f" {begun.code.replace('-', ' ')}\n"):
        assert look(world, ada, typed).name == "lap"


def test_neither_the_code_nor_the_secret_is_stored(world: World) -> None:
    begun = start(world)
    with world.reading() as session:
        row = session.scalars(select(Pairing)).one()
        stored = repr({name: value for name, value in vars(row).items() if name != "_sa_instance_state"})
    assert begun.secret not in stored
    assert begun.code.replace("-", "") not in stored


def test_a_lost_answer_is_given_again_until_the_tokens_are_used(world: World) -> None:
    ada, begun = world.person("Ada"), start(world)
    act(world, ada, pairing.approve, begun.code)
    lost, given = collect(world, begun), collect(world, begun)
    use(world, given)
    with pytest.raises(Unauthorized, match="replaced"):
        use(world, lost)
    with pytest.raises(Unauthorized):
        collect(world, begun)
    assert use(world, given)
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Grant)) == 1


def test_a_pc_that_asks_twice_at_once_gets_one_grant(world: World) -> None:
    ada, begun = world.person("Ada"), start(world)
    act(world, ada, pairing.approve, begun.code)
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda _: collect(world, begun), range(4)))
    assert use(world, given[2])
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Grant)) == 1


def test_a_denied_pc_gets_nothing(world: World) -> None:
    ada, begun = world.person("Ada"), start(world)
    act(world, ada, pairing.deny, begun.code)
    assert state(world, begun) == "denied"
    with pytest.raises(Unauthorized):
        collect(world, begun)
    with pytest.raises(NotFound):
        act(world, ada, pairing.approve, begun.code)
    assert trail(world)[-1][:2] == (Act.PAIRING_DENIED, ada.public_id)


def test_nothing_is_given_before_somebody_approves(world: World) -> None:
    with pytest.raises(Unauthorized, match="not approved"):
        collect(world, start(world))


def test_a_pairing_ends_by_the_clock_and_is_not_kept(world: World) -> None:
    ada, begun, approved = world.person("Ada"), start(world), start(world)
    act(world, ada, pairing.approve, approved.code)
    assert state(world, begun, LATER - 1) == "pending"
    with pytest.raises(Unauthorized, match="expired"):
        state(world, begun, LATER)
    with pytest.raises(Unauthorized, match="expired"):
        collect(world, approved, LATER)
    world.now_ms = LATER
    with pytest.raises(NotFound):
        act(world, ada, pairing.approve, begun.code)
    start(world, at=LATER)
    with world.reading() as session:
        assert session.scalar(select(func.count()).select_from(Pairing)) == 1


def test_a_guessed_secret_opens_nothing(world: World) -> None:
    begun = start(world)
    for guess in ("guess", begun.code, ""):
        with pytest.raises(Unauthorized), world.reading() as session:
            pairing.state(session, guess, NOW_MS)


def test_of_two_who_decide_at_once_one_comes_too_late(world: World) -> None:
    people = [world.person(name) for name in ("Ada", "Ben")]
    begun = start(world)

    def decide(member: Member) -> Exception | None:
        try:
            act(world, member, pairing.approve, begun.code)
        except (NotFound, Invalid) as error:
            return error
        return None

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(decide, people))
    assert said.count(None) == 1
    assert use(world, collect(world, begun)).person.id == people[said.index(None)].id


@pytest.mark.parametrize("column", ["deactivated_at", "token_version"])
def test_what_ends_its_owners_tokens_ends_an_approved_pairing(world: World, column: str) -> None:
    ada, begun = world.person("Ada"), start(world)
    act(world, ada, pairing.approve, begun.code)
    with world.database.writing() as session:
        setattr(session.get_one(Person, ada.id), column, 7)
    with pytest.raises(Unauthorized):
        collect(world, begun)


def test_signing_out_everywhere_ends_a_grant_that_was_not_collected_again(world: World) -> None:
    ada, begun = world.person("Ada"), start(world)
    act(world, ada, pairing.approve, begun.code)
    given = collect(world, begun)
    with world.database.writing() as session:
        sessions.end_all(session, session.get_one(Person, ada.id))
    with pytest.raises(Unauthorized):
        collect(world, begun)
    with pytest.raises(Unauthorized):
        use(world, given)


# Devices that are known


def test_a_pc_of_somebody_else_is_refused_and_theirs_stays(world: World) -> None:
    ada, eve = world.person("Ada"), world.person("Eve")
    begun = start(world, ada.device_id, name="mine now")
    for work in (lambda: look(world, eve, begun.code), lambda: act(world, eve, pairing.approve, begun.code)):
        with pytest.raises(Invalid, match="somebody else"):
            work()
    assert state(world, begun) == "pending"
    act(world, ada, pairing.approve, begun.code)
    with world.reading() as session:
        assert session.get_one(Device, ada.device).name == "a PC", "its owner's name for it stays"


def test_a_revoked_pc_comes_back_by_its_owners_decision_alone(world: World) -> None:
    ada, eve = world.person("Ada"), world.person("Eve")
    with world.database.writing() as session:
        devices.revoke(session, world.by(session, ada), ada.device_id)
    begun = start(world, ada.device_id)
    waiting = look(world, ada, begun.code)
    assert waiting.device is not None and waiting.device.revoked_at == NOW_MS
    with pytest.raises(Invalid):
        act(world, eve, pairing.approve, begun.code)
    with world.reading() as session:
        assert session.get_one(Device, ada.device).revoked_at is not None
    act(world, ada, pairing.approve, begun.code)
    assert use(world, collect(world, begun)).person.id == ada.id
    assert (Act.DEVICE_READMITTED, ada.public_id, ada.device_id) in trail(world)


def test_a_pc_revoked_after_it_was_approved_gets_nothing(world: World) -> None:
    ada = world.person("Ada")
    for is_given in (False, True):
        begun = start(world, ada.device_id)
        act(world, ada, pairing.approve, begun.code)
        if is_given:
            collect(world, begun)
        with world.database.writing() as session:
            devices.revoke(session, world.by(session, ada), ada.device_id)
        with pytest.raises(Unauthorized, match="revoked"):
            collect(world, begun)


def test_pairing_a_pc_anew_ends_its_tokens_of_before(world: World) -> None:
    ada = world.person("Ada")
    given = []
    for _ in range(2):
        begun = start(world, ada.device_id)
        act(world, ada, pairing.approve, begun.code)
        given.append(collect(world, begun))
        use(world, given[-1])
    with pytest.raises(Unauthorized, match="ended"):
        use(world, given[0])


# What strangers and guessers cannot do


@pytest.mark.parametrize(
    "code",
    [
        "",
        "BCDF",
        "BCDF-GHJK-L",
        "AAAA-AAAA",
        "\x00" * 8,
        "\u202eBCDFGHJK",
        "1" * 10_000,
        "\uff22\uff23\uff24\uff26\uff27\uff28\uff2a\uff2b",
    ],
)
def test_what_cannot_be_a_code_is_said_to_be_none(world: World, code: str) -> None:
    with pytest.raises(Invalid, match="BCDF-GHJK"):
        look(world, world.person("Ada"), code)


def test_so_many_wait_at_a_time_and_no_more(world: World) -> None:
    for _ in range(3):
        start(world)
    with world.database.writing() as session:
        session.add_all(
            Pairing(
                secret_hash=bytes([number // 256, number % 256]) * 16,
                code_hash=bytes([number // 256, number % 256]) * 16,
                device_public_id=uuid4(),
                device_name="x",
                created_at=NOW_MS,
                expires_at=NOW_MS + MINUTE_MS,
            )
            for number in range(pairing.MAX_OPEN - 3)
        )
    with pytest.raises(Limited, match="wait to be paired"):
        start(world)
    assert start(world, at=NOW_MS + MINUTE_MS)


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "\u202eevil", "x" * 101, "a\nb\x1b[2J"])
def test_a_name_that_hides_something_is_refused(world: World, name: str) -> None:
    with pytest.raises(Invalid, match="expected a name"):
        start(world, name=name)
