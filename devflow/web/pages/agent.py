"""The agent to install, from this very server: the page that says how, and the wheel itself."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from flask import Response, request
from flask.typing import ResponseReturnValue

from devflow import agent_wheel
from devflow.agent_wheel import NAME, Wheel
from devflow.errors import NotFound
from devflow.web import guard, htmx
from devflow.web.current import context
from devflow.web.pages import bp


@dataclass(frozen=True, slots=True)
class Install:
    """What somebody types to have the agent: one of the three. The sum at the end is checked by all."""

    wheel: Wheel
    address: str

    @property
    def name(self) -> str:
        return NAME

    @property
    def pip(self) -> str:
        return f"python3 -m pip install {self._what}"

    @property
    def pipx(self) -> str:
        return f"pipx install {self._what}"

    @property
    def uv(self) -> str:
        return f"uv tool install {self._what}"

    @property
    def _what(self) -> str:
        return shlex.quote(f"{self.address}#sha256={self.wheel.sha256}")


@bp.app_template_global("agent_install")
def install() -> Install | None:
    """None where this server has no wheel to give."""
    settings = context().settings
    wheel = agent_wheel.find(settings.agent_path)
    return None if wheel is None else Install(wheel, f"{settings.public_url.rstrip('/')}/agent/{NAME}")


@bp.app_template_global("server_command")
def server_command() -> str:
    """What names this server to the agent; over plain http with the word that this is accepted."""
    accepted = " --insecure-http" if is_plain_elsewhere() else ""
    return f"devflow sync init{accepted} {shlex.quote(context().settings.public_url)}"


@bp.app_template_global("is_plain_elsewhere")
def is_plain_elsewhere() -> bool:
    return context().settings.is_plain_elsewhere


@bp.get("/agent")
@guard.public("the agent is the same for everybody, and has no secret in it")
def agent() -> ResponseReturnValue:
    return htmx.render("agent/page.html")


@bp.get("/agent/<wheel>")
@guard.public("the agent is the same for everybody, and has no secret in it")
def agent_file(wheel: str) -> ResponseReturnValue:
    found = agent_wheel.find(context().settings.agent_path)
    if found is None or wheel != NAME:
        raise NotFound(f"this server has no agent of the name {wheel[:80]}")
    response = Response(found.content, mimetype="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="{NAME}"'
    # Asked for again each time, and then mostly answered 304: a rebuilt one has the same address.
    response.headers["Cache-Control"] = "public, no-cache"
    response.set_etag(found.sha256)
    return response.make_conditional(request)
