"""The ground the tests stand on: databases of their own, really of the kind they say, and a real browser."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
import pytest
from playwright.sync_api import Page
from sqlalchemy import inspect, select

from devflow.db import Database
from devflow.models import Workspace
from tests import postgres as postgres_server
from tests.build import World


@pytest.mark.parametrize("visit", ["first", "second"])
def test_a_test_sees_no_row_of_another(database: Database, visit: str) -> None:
    with database.reading() as session:
        assert session.scalars(select(Workspace)).all() == []
    World.on(database)


def test_the_database_is_of_the_kind_asked_for(database: Database, backend: str) -> None:
    assert database.engine.dialect.name == {"sqlite": "sqlite", "postgres": "postgresql"}[backend]


def test_an_empty_database_has_no_schema(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    assert inspect(database.engine).get_table_names() == []
    database.close()


def test_a_postgres_refuses_who_does_not_know_its_password_and_is_gone_when_stopped() -> None:
    with postgres_server.running(durable=True) as server:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url("postgres").replace(server.password, "guess"))
        with psycopg.connect(server.url("postgres")) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(server.url("postgres"))


def test_the_browser_runs_scripts(page: Page) -> None:
    page.goto("data:text/html," + quote("<p></p><script>document.querySelector('p').id = 'ran'</script>"))
    assert page.locator("p").get_attribute("id") == "ran"
