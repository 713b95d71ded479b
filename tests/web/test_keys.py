"""The page of keys: what an admin sees and does there, and nobody else."""

from __future__ import annotations

from sqlalchemy import select, update
from werkzeug.test import TestResponse

from devflow import crypto, jobs
from devflow.audit import Act
from devflow.models import AuditEntry, Event, File, Person, Workspace
from tests.browsing import Team, soup, text


def rows(answer: TestResponse) -> list[list[str]]:
    """Key, day and state of each row of the table."""
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.select("th, td")]
        for row in soup(answer).select(".keys tbody tr")
    ]


def test_an_admin_sees_every_key_and_where_the_secret_is_but_nothing_secret(busy: Team) -> None:
    answer = busy.browser("ada").get("/keys")
    assert rows(answer) == [
        ["Sealed fields 1", "Nov 19, 2026", "in use"],
        ["Access tokens 2", "Nov 19, 2026", "in use"],
        ["Keyed hashes 3", "Nov 19, 2026", "in use, for good"],
    ]
    page = soup(answer)
    file = busy.context.settings.data_path / "secret.key"
    assert text(page, ".facts dd:nth-of-type(1)") == f"in the file {file}"
    assert "600,000 iterations" in text(page, ".facts dd:nth-of-type(2)")
    assert "apart from the copies of the database" in page.get_text()
    ring = busy.context.vault.ring
    for key in (*ring.fields.values(), *ring.tokens.values(), ring.hashes, file.read_bytes()):
        assert key.hex() not in answer.text


def test_nobody_else_sees_or_replaces_a_key(busy: Team) -> None:
    for name in ("bob", "eve"):
        browser = busy.browser(name)
        assert browser.get("/keys").status_code == 403
        assert browser.post("/keys", purpose="fields").status_code == 403
    assert busy.context.vault.current == 1


def test_a_button_replaces_a_key_and_the_page_says_how_far_it_has_come(busy: Team) -> None:
    ada = busy.browser("ada")
    answer = ada.post("/keys", purpose="fields")
    assert (answer.status_code, answer.location) == (302, "/keys")
    with busy.world.reading() as session:
        events = len(session.scalars(select(Event.seq)).all())
        files = len(session.scalars(select(File.id)).all())
        entry = session.scalars(select(AuditEntry).where(AuditEntry.act == Act.KEY_ROTATED)).one()
    assert entry.actor == busy.people["ada"].public_id
    most = 4 + files + events
    assert rows(ada.get("/keys"))[:2] == [
        ["Sealed fields 4", "Nov 19, 2026", "in use"],
        ["Sealed fields 1", "Nov 19, 2026", f"retired; at most {most} rows are still to be sealed anew"],
    ]
    jobs.reseal(busy.context)
    jobs.reseal(busy.context)
    assert "all rows are sealed anew" in rows(ada.get("/keys"))[1][2]


def test_a_key_of_tokens_says_until_when_its_tokens_are_good(busy: Team) -> None:
    ada = busy.browser("ada")
    assert ada.post("/keys", purpose="tokens").status_code == 302
    assert rows(ada.get("/keys"))[2] == [
        "Access tokens 2",
        "Nov 19, 2026",
        "retired; its tokens are good until Nov 26, 2026",
    ]


def test_the_key_of_hashes_or_none_at_all_is_refused_in_words(busy: Team) -> None:
    ada = busy.browser("ada")
    for form in ({"purpose": "hashes"}, {"purpose": "<b>"}, {}):
        answer = ada.post("/keys", **form)
        assert answer.status_code == 422
        assert "a kind of key that can be replaced" in text(soup(answer), "[role=alert]")
        assert len(rows(answer)) == 3


def test_damaged_rows_are_told_of_on_the_page(busy: Team) -> None:
    ada = busy.browser("ada")
    ada.post("/keys", purpose="fields")
    with busy.world.database.writing() as session:
        session.execute(update(File).where(File.id == 1).values(path=crypto.prefix(1) + bytes(60)))
    jobs.reseal(busy.context)
    jobs.reseal(busy.context)
    answer = ada.get("/keys")
    assert "One row cannot be opened" in text(soup(answer), "[role=alert]")
    assert rows(answer)[1][2] == "retired; kept for the rows that are damaged"


def test_a_low_count_of_iterations_is_said_to_rise(busy: Team) -> None:
    with busy.world.database.writing() as session:
        session.execute(update(Workspace).values(kdf_iterations=10_000))
    page = soup(busy.browser("ada").get("/keys"))
    assert "10,000 iterations · rises to 600,000 at the next start" in text(page, ".facts dd:nth-of-type(2)")


def test_a_damaged_address_takes_down_neither_its_own_page_nor_another(busy: Team) -> None:
    bob = busy.browser("bob")
    with busy.world.database.writing() as session:
        session.execute(update(Person).where(Person.name == "Bob").values(email=crypto.prefix(1) + bytes(60)))
    answer = bob.get(busy.page)
    assert answer.status_code == 200
    assert "devflow sync auth --email YOUR-ADDRESS" in answer.text
    assert busy.browser("cem").get(busy.page).status_code == 200
    # By keyed hash, so signing in needs nothing of what is damaged.
    assert busy.browser("bob").get("/").status_code == 200


def test_what_cannot_be_read_is_a_fault_of_the_servers_and_says_so(busy: Team) -> None:
    def broken() -> str:
        raise crypto.Damaged("files.path: the very words")

    busy.app.view_functions["pages.keys"] = broken
    busy.app.view_functions["api.projects"] = broken
    page, problem = busy.browser("ada").get("/keys"), busy.app.test_client().get("/sync/projects")
    assert (page.status_code, problem.status_code) == (500, 500)
    assert "cannot be read" in page.text and "cannot be read" in problem.get_json()["detail"]
    assert "very words" not in page.text + problem.text
