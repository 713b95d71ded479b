"""``/auth``: a password, a pairing or a refresh token for tokens; the devices that have them; logging out."""

from __future__ import annotations

from flask import request
from sqlalchemy.orm import Session

from devflow import wire
from devflow.access import Action
from devflow.accounts import devices, pairing, second_factor, sign_in, throttle, tokens
from devflow.accounts.sign_in import Candidate
from devflow.audit import Actor
from devflow.errors import CodeNeeded, Unauthorized
from devflow.models import Device
from devflow.web import entrance, guard
from devflow.web.api import bearer, bp
from devflow.web.api.operation import operation
from devflow.web.current import context, now, session


@bp.post("/auth/login")
@guard.public("who logs in is not known yet")
@operation(
    "Log in by password",
    {
        401: f"Another address or password; with the code `{wire.SECOND_FACTOR}`, those are right, and a "
        "code of the second factor is missing or wrong.",
        429: "Too many wrong ones.",
    },
    codes={401: (wire.SECOND_FACTOR,)},
)
def login(given: wire.Login) -> wire.Tokens:
    # Before the transaction: while a password is verified nobody else should wait to write.
    found = entrance.by_password(given.email, given.password)
    if given.code is None:
        try:
            return _issue(given, found)
        except CodeNeeded:
            entrance.code_awaited(found.who())
            raise
    with entrance.by_code(found.who()):
        return _issue(given, found)


def _issue(given: wire.Login, found: Candidate) -> wire.Tokens:
    """Tokens for who has shown the password; raise CodeNeeded if a code is missing or wrong."""

    def work(session: Session, by: Actor) -> wire.Tokens:
        person = sign_in.let_in(session, found)
        as_person = Actor(person, by.now_ms, by.vault)
        if second_factor.is_on(session, person):
            second_factor.check(session, as_person, person, given.code or "")
        device = None
        if given.device_id is not None:
            name = given.device_name or "unnamed"
            device = devices.enrol(session, as_person, person, given.device_id, name)
        return tokens.issue(session, as_person, person, device, context().server_id)

    return guard.act_as_nobody(work)


@bp.post("/auth/refresh")
@guard.public("the refresh token proves who asks")
@operation("Exchange a refresh token", {401: "The refresh token is not good any more: log in."})
def refresh(given: wire.Refresh) -> wire.Tokens:
    renewed = guard.act_as_nobody(
        lambda session, by: tokens.renew(session, by, given.refresh_token, context().server_id)
    )
    if renewed is None:
        raise Unauthorized("this refresh token was used before: all tokens of this log-in have ended")
    return renewed


@bp.post("/auth/logout")
@guard.needs(Action.USE_OWN)
@operation("Log out")
def logout() -> None:
    """The whole log-in ends: every token that came of it."""
    guard.act(lambda session, by: tokens.end(session, by, bearer.current(session)))


@bp.post("/auth/pair")
@guard.public("a PC that nobody has let in yet asks for it")
@operation("Ask to be let in", {429: "Too many ask."})
def start_pairing(given: wire.Pair) -> wire.Pairing:
    context().throttle.use(throttle.pairings(request.remote_addr))
    started = guard.act_as_nobody(
        lambda session, by: pairing.start(session, by, given.device_id, given.device_name)
    )
    return wire.Pairing(
        secret=started.secret,
        code=started.code,
        url=f"{context().settings.public_url.rstrip('/')}/pair",
        expires_at=started.expires_at,
        interval_s=pairing.INTERVAL_S,
    )


@bp.post("/auth/pair/token")
@guard.public("the secret proves which PC asks")
@operation("Ask what the owner decided", {401: "There is no such pairing, or it is over."})
def paired(given: wire.PairToken) -> wire.Paired:
    """Most of those who ask are told to wait, and nothing is written for that."""
    state = pairing.state(session(), given.secret, now())
    if state != wire.PairingState.APPROVED:
        return wire.Paired(state=state)
    session().rollback()
    return guard.act_as_nobody(
        lambda session, by: pairing.collect(session, by, given.secret, context().server_id)
    )


@bp.get("/auth/devices")
@guard.needs(Action.USE_OWN)
@operation("List the own devices")
def own_devices() -> wire.Devices:
    asking = bearer.current(session())
    this = None if asking.device is None else asking.device.id
    found = devices.own(session(), asking.person)
    return wire.Devices(devices=[_told(device, is_this=device.id == this) for device in found])


@bp.post("/auth/devices/<uuid:device_id>/revoke")
@guard.needs(Action.REVOKE_DEVICE)
@operation("Let a device in no more")
def revoke(device: Device) -> None:
    public_id = device.public_id
    guard.act(lambda session, by: devices.revoke(session, by, public_id))


def _told(device: Device, *, is_this: bool) -> wire.Device:
    return wire.Device(
        device_id=device.public_id,
        name=device.name,
        created_at=device.created_at,
        last_seen_at=device.last_seen_at,
        revoked_at=device.revoked_at,
        is_this=is_this,
    )
