"""Passwords: what a new one has to be, and that verifying tells nothing by its time."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from devflow.accounts import passwords, sign_in
from devflow.errors import Invalid, Unauthorized
from devflow.models import Person
from tests.build import NOW_MS, PASSWORD, World


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "10 to 1024 characters, got 5"),
        ("x" * 1_025, "got 1025"),
        ("password123456", "similar to a commonly used password"),
        ("aaaaaaaaaaaaaaaa", 'Repeats like "aaa" are easy to guess'),
        ("abcdefghijkl", 'Sequences like "abc"'),
        ("correcthorse", "Add another word or two"),
        ("ada.lovelace", "harder to guess"),
        ("engine-works", "harder to guess"),
        ("devflowdevflow", "harder to guess"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused_with_the_reason(password: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        passwords.check(password, "Ada Lovelace", "ada@engine-works.example")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        "ein paar worte hintereinander",
        "gzqpvwmrkd",
        "密码学是一门古老的学问呢",
        "7 Löffel, 3 Gabeln",
    ],
)
def test_no_kind_of_character_is_asked_for(password: str) -> None:
    passwords.check(password, "Ada Lovelace", "ada@engine-works.example")


def test_the_words_about_a_person_count_for_that_person_alone() -> None:
    passwords.check("wrzesniewska", "Bob", "bob@example.org")
    with pytest.raises(Invalid):
        passwords.check("wrzesniewska", "Ada Wrzesniewska", "ada@example.org")
    passwords.check("wrzesniewska", "Bob", "bob@example.org")


def test_checks_at_once_do_not_mix_the_people() -> None:
    def is_good(name: str) -> bool:
        try:
            passwords.check("wrzesniewska", name)
        except Invalid:
            return False
        return True

    names = ["Wrzesniewska", "Bob"] * 40
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(is_good, names)) == [name == "Bob" for name in names]


def test_a_long_password_is_judged_by_how_it_begins() -> None:
    passwords.check(PASSWORD + "a" * 1_000)
    with pytest.raises(Invalid):
        passwords.check("a" * 72 + PASSWORD)


def test_what_is_kept_of_a_password_is_argon2id_with_a_salt_of_its_own() -> None:
    one, other = passwords.kept(PASSWORD), passwords.kept(PASSWORD)
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != other


def test_a_password_is_verified_to_the_last_character_as_it_was_typed() -> None:
    password = f" {PASSWORD}{'a' * 500} \N{LATIN SMALL LETTER E WITH ACUTE}"
    stored = passwords.kept(password)
    others = (
        password[:-1],
        password.strip(),
        password.upper(),
        password.replace("\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"),
    )
    with passwords.hashing:
        assert passwords.verify(stored, password)
        assert not any(passwords.verify(stored, other) for other in others)


def test_an_account_without_a_password_is_entered_by_none() -> None:
    with passwords.hashing:
        assert not passwords.verify("", "")
        assert not passwords.verify(None, PASSWORD)


def test_unknown_known_and_deactivated_accounts_are_refused_in_the_same_time(world: World) -> None:
    world.person("Ada")
    gone = world.person("Bob")
    with world.database.writing() as session:
        session.get_one(Person, gone.id).deactivated_at = NOW_MS
    tries = {"ada": "wrong password", "bob": PASSWORD, "nobody": PASSWORD}
    taken: dict[str, list[float]] = {name: [] for name in tries}
    for _ in range(25):
        for name, password in tries.items():
            started = time.thread_time()  # of the processor: what else the machine does is not in it
            with pytest.raises(Unauthorized), world.reading() as session:
                sign_in.candidate(session, world.vault, f"{name}@example.org").check(password)
            taken[name].append(time.thread_time() - started)
    medians = [statistics.median(each) for each in taken.values()]
    assert max(medians) < 1.25 * min(medians), medians
