"""Sealing: what is changed, cut or moved does not open, and no nonce comes twice."""

from __future__ import annotations

import os
import threading
import time

import pytest

from devflow import crypto
from devflow.crypto import Damaged, Ring, Vault

FIELD, ROW, TEXT = "events.data", b"row", b'{"path":"src/app.py"}'


def vault(*numbers: int) -> Vault:
    return Vault(ring(*numbers), b"secret")


def ring(*numbers: int) -> Ring:
    """A ring of fields' keys with these ids; a key is the same whenever its id is."""
    keys = {number: number.to_bytes(1, "big") * 32 for number in numbers or (1,)}
    return Ring(keys, {2: b"t" * 32}, b"h" * 32, newest=max([2, *keys]))


@pytest.mark.parametrize("text", [b"", b"x", TEXT, os.urandom(40_000)])
def test_what_was_sealed_opens_as_it_was(text: bytes) -> None:
    one = vault()
    sealed = one.seal(FIELD, ROW, text)
    assert one.open(FIELD, ROW, sealed) == text
    assert len(sealed) == len(text) + 4 + 12 + 16
    assert len(text) < 4 or text not in sealed


@pytest.mark.parametrize(
    ("field", "row"),
    [
        ("events.data", b"another"),
        ("events.data", b""),
        ("files.path", ROW),
        ("events.datum", ROW),
        ("events.", b"data|row"),
        ("events", b"data|row"),
    ],
)
def test_what_was_sealed_for_one_row_opens_for_no_other_row_or_column(field: str, row: bytes) -> None:
    one = vault()
    with pytest.raises(Damaged, match="not sealed for this row"):
        one.open(field, row, one.seal(FIELD, ROW, TEXT))


def test_no_bit_can_be_changed_and_no_byte_cut_off_unnoticed() -> None:
    one = vault()
    sealed = one.seal(FIELD, ROW, TEXT)
    flipped = [
        bytes(byte ^ (1 << bit) if n == place else byte for n, byte in enumerate(sealed))
        for place in range(len(sealed))
        for bit in range(8)
    ]
    shortened = [sealed[:length] for length in range(len(sealed))]
    for wrong in [*flipped, *shortened, sealed + b"\0", sealed[1:], TEXT, b"\0" * 60]:
        with pytest.raises(Damaged, match=r"^events\.data: "):
            one.open(FIELD, ROW, wrong)
        assert one.open_or_none(FIELD, ROW, wrong) is None


def test_a_damaged_row_among_many_is_logged_by_row_and_shows_nothing_of_what_it_held(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = vault()
    assert one.open_or_none(FIELD, ROW, one.seal(FIELD, ROW, TEXT)) == TEXT
    assert caplog.text == ""
    assert one.open_or_none(FIELD, ROW, one.seal(FIELD, b"other", TEXT)) is None
    assert f"events.data of row {ROW.hex()} is damaged" in caplog.text


def test_nonces_never_repeat() -> None:
    one = vault()
    nonces = {one.seal(FIELD, ROW, b"the same")[4:16] for _ in range(100_000)}
    assert len(nonces) == 100_000


def test_a_key_is_wrapped_under_its_name_alone() -> None:
    wrapping = crypto.wrapping_key(b"secret", b"salt", 1)
    wrapped = crypto.wrap(wrapping, b"k" * 32, "keys|fields|1")
    assert crypto.unwrap(wrapping, wrapped, "keys|fields|1") == b"k" * 32
    other = crypto.wrapping_key(b"secret", b"salt", 2)
    for key, sealed, name in (
        (wrapping, wrapped, "keys|tokens|1"),
        (wrapping, wrapped, "keys|fields|4"),
        (wrapping, wrapped[:-1], "keys|fields|1"),
        (wrapping, b"", "keys|fields|1"),
        (other, wrapped, "keys|fields|1"),
    ):
        with pytest.raises(Damaged):
            crypto.unwrap(key, sealed, name)


def test_the_newest_key_seals_and_the_ones_before_still_open() -> None:
    old, both = vault(1), vault(1, 4)
    before, after = old.seal(FIELD, ROW, TEXT), both.seal(FIELD, ROW, TEXT)
    assert (before[:4], after[:4]) == (crypto.prefix(1), crypto.prefix(4))
    assert both.open(FIELD, ROW, before) == both.open(FIELD, ROW, after) == TEXT
    with pytest.raises(Damaged, match="sealed with the key 4, which is not there"):
        old.open(FIELD, ROW, after)


def test_only_an_id_newer_than_all_known_ones_makes_a_vault_look_for_keys() -> None:
    looked: list[int] = []

    def find() -> Ring:
        looked.append(1)
        return ring(1, 4)

    one = Vault(ring(1), b"secret", find)
    with pytest.raises(Damaged):
        one.open(FIELD, ROW, crypto.prefix(0) + b"x" * 40)
    assert one.token_key(2) == b"t" * 32
    assert one.token_key(1) is None and looked == []
    assert one.open(FIELD, ROW, vault(4).seal(FIELD, ROW, TEXT)) == TEXT
    assert (looked, one.current) == ([1], 4)


def test_keys_that_were_read_earlier_do_not_replace_those_read_later() -> None:
    one = vault(1, 4)
    one.use(ring(1))
    assert one.current == 4
    one.use(ring(4))
    assert list(one.ring.fields) == [4]


def test_a_process_that_cannot_look_for_newer_keys_stops_sealing_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost() -> Ring:
        raise Damaged("the keys do not open")

    one = Vault(ring(1), b"secret", lost)
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + crypto.LEASE_S - 1)
    sealed = one.seal(FIELD, ROW, TEXT)
    monkeypatch.setattr(time, "monotonic", lambda: began + crypto.LEASE_S + 1)
    with pytest.raises(Damaged, match="do not open"):
        one.seal(FIELD, ROW, TEXT)
    assert one.open(FIELD, ROW, sealed) == TEXT


def test_threads_seal_and_open_while_keys_change_under_them() -> None:
    one, stop = vault(1), threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                assert one.open(FIELD, ROW, one.seal(FIELD, ROW, TEXT)) == TEXT
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(4, 200):
        one.use(ring(*range(1, number + 1)))
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []


def test_keyed_hashes_differ_by_purpose_by_key_and_by_how_parts_are_cut() -> None:
    one = vault()
    other = Vault(Ring(one.ring.fields, one.ring.tokens, b"i" * 32, newest=2), b"secret")
    macs = [
        one.mac("audit", b"ab", b"c"),
        one.mac("audit", b"a", b"bc"),
        one.mac("audit", b"abc"),
        one.mac("audit head", b"ab", b"c"),
        other.mac("audit", b"ab", b"c"),
    ]
    assert len(set(macs)) == len(macs)
    assert one.key_of("people.email", b"a") != one.key_of("files.path", b"a")
