"""Passwords: what one has to be, how it is kept, and verifying it in the same time for everybody."""

from __future__ import annotations

import re
import threading
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from devflow import crypto
from devflow.errors import Invalid

MIN_PASSWORD: Final = 10
MAX_PASSWORD: Final = 1_024
ENOUGH: Final = 3
"""Of zxcvbn's 0 to 4: more than 10^8 guesses, "safely unguessable" where guessing is throttled."""
# zxcvbn takes no more; what begins with 72 characters hard to guess does not get easier after them.
_LOOKED_AT: Final = 72

# OWASP's smaller Argon2id setting: 19 MiB and two passes. Four at a time, so that a flood of
# log-ins takes 76 MiB and not all of the memory.
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
hashing: Final = threading.BoundedSemaphore(4)
"""Held while a password is hashed or verified; whoever waits for it should hold nothing else."""
# Verified against when nobody has the address, so that both answers take the same time.
_NOBODYS_HASH: Final = _hasher.hash(crypto.new_token())


# zxcvbn keeps the words about the person in a dictionary that all calls share.
_judging: Final = threading.Lock()


def kept(password: str, *about: str) -> str:
    """What is kept of a new password, Argon2id with its own salt, if ``check`` finds it good.

    Takes its time, so it is called before a transaction begins: meanwhile others may write.
    """
    check(password, *about)
    with hashing:
        return _hasher.hash(password)


def check(password: str, *about: str) -> None:
    """Raise Invalid saying what is wrong with a new password.

    ``about`` are the person's name and address, whose parts make a password no better.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Invalid(
            "expected a password of %(least)s to %(most)s characters, got %(n)s",
            least=MIN_PASSWORD,
            most=MAX_PASSWORD,
            n=len(password),
        )
    known = ["devflow", *(part for text in about for part in _parts(text))]
    with _judging:
        import zxcvbn  # its dictionaries take 10 MB, and passwords are chosen rarely

        judged = zxcvbn.zxcvbn(password[:_LOOKED_AT], user_inputs=known)
    if judged["score"] < ENOUGH:
        why = [judged["feedback"]["warning"], *judged["feedback"]["suggestions"]]
        raise Invalid("expected a password that is harder to guess.", *filter(None, why))


def _parts(text: str) -> list[str]:
    """A name or an address, and what it is made of."""
    return [part for part in (text, *re.split(r"[@.\s]", text), *re.split(r"[\W_]", text)) if part]


def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password; ``stored`` is None for nobody's, which takes the same time.

    The caller holds ``hashing``.
    """
    try:
        return _hasher.verify(stored or _NOBODYS_HASH, password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False


def has_control(text: str) -> bool:
    """Whether there are control characters in it, NUL and line ends among them."""
    return any(unicodedata.category(character) == "Cc" for character in text)
