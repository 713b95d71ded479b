"""The pages people open in a browser: a module a page, with a template folder of the same name."""

from __future__ import annotations

from flask import Blueprint, Flask

from devflow import __version__

bp = Blueprint("pages", __name__)


def init_app(app: Flask) -> None:
    from devflow.web.pages import (  # noqa: F401 - they hang their routes on bp
        account,
        agent,
        audit,
        devices,
        export,
        feed,
        keys,
        language,
        links,
        me,
        my_devices,
        nav,
        overview,
        own_account,
        pair,
        people,
        person,
        person_account,
        project,
        project_members,
        retention,
        security,
        start,
        team,
        team_members,
        teams,
        trace,
        words,
    )

    app.jinja_env.globals.update(version=__version__, nav=nav)
    app.register_blueprint(bp)
