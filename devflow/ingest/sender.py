"""Who sends a batch, and from which PC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from devflow.audit import Actor
from devflow.crypto import Vault
from devflow.errors import Unauthorized
from devflow.models import Device, Person

_PERSON: Final = Person.__table__.c
_HELD: Final = (
    select(_PERSON.deactivated_at).where(_PERSON.id == bindparam("person_id")).with_for_update(key_share=True)
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Out of the token, not out of the batch."""

    by: Actor
    device: Device

    @property
    def person(self) -> Person:
        return self.by.who()

    @property
    def vault(self) -> Vault:
        return self.by.vault


def lock_person(session: Session, person: Person) -> None:
    """Until the transaction ends nobody else changes the person's cells, or what their PCs have sent.

    Comes after ``retention.hold``, before ``NOBODYS_CELLS`` of the projects. Together with rows
    being touched in a fixed order (files, events and cells by their keys, marks, projects) this keeps
    transactions from waiting for each other in a circle.
    """
    if _is_deactivated(session, person):  # while this waited; whoever is erased is deactivated first
        raise Unauthorized("this account was deactivated: nothing is taken from it")


def _is_deactivated(session: Session, person: Person) -> bool:
    connection = session.connection()
    if connection.dialect.name == "sqlite":  # nobody else writes: what this transaction has read holds
        return person.deactivated_at is not None
    return connection.scalar(_HELD, {"person_id": person.id}) is not None
