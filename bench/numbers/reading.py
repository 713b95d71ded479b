"""What pages and programs ask for, of ten million events against a hundred thousand of the same team.

In this process, by the app as it is served, with nothing kept from the question before: the page data
of a project and of the whole workspace for 30 days, and a year by REST; and an answer that nothing has
changed against a Flask app that does nothing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bench.ingestion.asked import Asked, Round
from bench.numbers import team
from devflow import access, activity, windows, workspace
from devflow.access import Action
from devflow.cache.memory import Memory
from devflow.config import Settings
from devflow.context import Context
from devflow.factory import create_app
from devflow.models import Person, Project
from tests import postgres, town
from tests.build import NOW_MS, World

FEW: Final = 100_000
MANY: Final = 10_000_000
TIMES: Final = 40
PAGES: Final = ("project, 30 days", "workspace, 30 days")
ASKED: Final = (
    *(Asked(f"times of {FEW:,} events: {name}", most=1.5) for name in PAGES),
    *(Asked(f"ms: {name}", most=10) for name in PAGES),
    Asked("ms: REST, 30 days by day", most=10),
    Asked("ms: REST, a year by day", most=50),
    Asked("ms: REST, files of a year by day", most=50),
    Asked("times a no-op of Flask: nothing has changed", most=2),
)


def measure(on_postgres: bool) -> Round:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=".")))
        made = stack.enter_context(postgres.running()) if on_postgres else None
        few, many = (
            _asked(folder / name, made.create(name) if made else "", events)
            for name, events in (("few", FEW), ("many", MANY))
        )
    nothing = _ms(_no_op())
    ratios = [many[name] / few[name] for name in PAGES]
    told = ", ".join(f"{name} {took:.2f}" for name, took in many.items())
    figures = (*ratios, *(many[name] for name in PAGES), many["day"], many["year"], many["files"])
    return Round(f"ms of {MANY:,} events: {told}; no-op {nothing:.3f}", (*figures, many["same"] / nothing))


def _asked(folder: Path, database_url: str, events: int) -> dict[str, float]:
    """Milliseconds of everything that is asked."""
    settings = Settings(data_dir=str(folder), database_url=database_url, timezone="Europe/Berlin")
    workspace.prepare(settings, NOW_MS)
    context = Context.open(settings, lambda: NOW_MS)
    people, projects = team.fill(World.of(context), events)
    found = _pages(context, people[3].id, projects[0].id)
    client = create_app(context).test_client()
    headers = {"Authorization": f"Bearer {town.bearer(context, people[3])}"}

    def rest(metric: str, time_range: str) -> Callable[[], object]:
        address = f"/metrics/aggregate?projectId={projects[0].public_id}&metricType={metric}"
        return lambda: _get(client, f"{address}&groupBy=day&timeRange={time_range}", headers)

    for name, ask in (
        ("day", rest("events_count", "30d")),
        ("year", rest("active_time", "1y")),
        ("files", rest("files_changed", "1y")),
    ):
        found[name] = _ms(ask, before=lambda: setattr(context.cache, "memory", Memory()))
    address = f"/metrics/aggregate?projectId={projects[0].public_id}&metricType=commits"
    same = headers | {"If-None-Match": _get(client, address, headers).headers["ETag"]}
    found["same"] = _ms(lambda: _get(client, address, same))
    context.database.close()
    return found


def _pages(context: Context, person_id: int, project_id: int) -> dict[str, float]:
    calendar, database = World.of(context).calendar, context.database
    today = windows.day_of(NOW_MS, calendar.zone)
    first = today - timedelta(days=29)

    def of_project() -> object:
        with database.reading() as session:
            viewer, project = session.get_one(Person, person_id), session.get_one(Project, project_id)
            return activity.project(session, project, viewer.id, first, today, calendar.zone)

    def of_workspace() -> object:
        with database.reading() as session:
            viewer = session.get_one(Person, person_id)
            shown = session.scalars(
                access.visible(viewer, Action.VIEW_PROJECT, Project).order_by(Project.name)
            ).all()
            return activity.overview(session, shown, NOW_MS, context.cache, context.server(calendar))

    return dict(zip(PAGES, map(_ms, (of_project, of_workspace)), strict=True))


def _get(client: FlaskClient, address: str, headers: dict[str, str]) -> TestResponse:
    answer = client.get(address, headers=headers)
    if answer.status_code not in (200, 304):
        raise SystemExit(f"expected an answer from {address}, got {answer.status_code} {answer.text[:300]}")
    return answer


def _no_op() -> Callable[[], object]:
    app = Flask("nothing")
    app.add_url_rule("/", "nothing", lambda: "")
    client = app.test_client()
    return lambda: client.get("/")


def _ms(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The median of some times."""
    taken = []
    for _ in range(TIMES + 1):
        before()
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1_000)
    return statistics.median(taken[1:])
