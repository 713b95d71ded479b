"""Who sends a batch, and from which PC."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from devflow.audit import Actor
from devflow.crypto import Vault
from devflow.errors import Unauthorized
from devflow.models import Device, Person


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

    Comes after ``retention.horizon``, before ``NOBODYS_CELLS`` of the projects. Together with rows
    being touched in a fixed order (files, events and cells by their keys, marks, projects) this keeps
    transactions from waiting for each other in a circle.
    """
    row = Person.__table__.c
    held = select(row.deactivated_at).where(row.id == person.id).with_for_update(key_share=True)
    if session.scalar(held) is not None:  # while this waited; whoever is erased is deactivated first
        raise Unauthorized("this account was deactivated: nothing is taken from it")
