"""Projects: who sends to them, and that a deleted one goes whole, in steps, and takes nothing else along."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from devflow import audit, groups, projects, rollups
from devflow.errors import Invalid, NotFound, Unauthorized
from devflow.models import (
    AuditEntry,
    Cell,
    Device,
    Event,
    File,
    Link,
    Mark,
    Person,
    Project,
    ProjectMember,
    Role,
    Slice,
    Team,
    TeamMember,
)
from devflow.wire import ErrorCode
from tests import slicing
from tests.build import HOUR_MS, MINUTE_MS, NOW_MS, STRANGER, Member, World, commit, saved
from tests.server.test_concurrency import wait_for_a_lock
from tests.server.test_groups import act, someone
from tests.server.test_rollups import recounted, stored


def delete(world: World, who: Member, project: UUID, typed: str) -> None:
    act(world, who, lambda session, by: projects.delete(session, by, project, typed))


def purge(world: World) -> int:
    """Every step there is, as the job takes them; return how many."""
    steps = 0
    while world.database.transact(lambda s: projects.purge(s, world.by(s))):
        steps += 1
    return steps


def acts(world: World) -> list[str]:
    with world.reading() as session:
        assert audit.verify(session, world.vault) is None
        found = session.scalars(select(AuditEntry.act).order_by(AuditEntry.id)).all()
        return [each for each in found if each.startswith("project.")]


def send(world: World, member: Member, project: Project) -> list[str]:
    """What is said of an event that is sent there."""
    event = world.event(member, project, saved(), NOW_MS)
    return [error.code for error in world.send(member, event).errors]


def test_only_who_may_make_projects_makes_one_and_manages_it(world: World) -> None:
    mo, bob = someone(world, "Mo", Role.MANAGER), someone(world, "Bob")
    made = act(world, mo, lambda s, by: projects.create(s, by, "atlas").id)
    with world.reading() as session:
        rows = session.scalars(select(ProjectMember)).all()
        assert [(row.project_id, row.person_id, row.role) for row in rows] == [(made, mo.id, "manager")]
    with pytest.raises(Unauthorized):
        act(world, bob, lambda s, by: projects.create(s, by, "mine"))


def test_what_a_removed_member_sends_is_refused_from_the_next_batch_on(world: World) -> None:
    mo, bob, eve = world.person("Mo"), world.person("Bob"), world.person("Eve")
    atlas = world.project("atlas", mo, bob, roles={mo: Role.MANAGER, bob: Role.MANAGER})
    assert send(world, bob, atlas) == []
    act(world, mo, lambda s, by: groups.remove(s, by, Project, atlas.public_id, bob.public_id))
    assert send(world, bob, atlas) == send(world, eve, atlas) == [ErrorCode.PROJECT]
    assert send(world, mo, atlas) == []
    with world.reading() as session:  # what was sent stays, and stays Bob's
        assert session.scalars(select(Event.person_id).order_by(Event.seq)).all() == [bob.id, mo.id]


# Deleting


@pytest.mark.parametrize("typed", ["", "Atlas", "atla", "atlas atlas"])
def test_a_project_is_deleted_only_by_its_name(world: World, typed: str) -> None:
    ada = someone(world, "Ada", Role.ADMIN)
    atlas = world.project("atlas").public_id
    with pytest.raises(Invalid, match="expected the name 'atlas' to confirm, got"):
        delete(world, ada, atlas, typed)
    assert purge(world) == 0
    assert acts(world) == []


def test_a_project_is_deleted_by_an_admin_alone(world: World) -> None:
    mo, bob, eve = (someone(world, name, Role.MANAGER) for name in ("Mo", "Bob", "Eve"))
    atlas = world.project("atlas", mo, roles={mo: Role.MANAGER})
    with world.database.writing() as session:
        session.add(ProjectMember(project_id=atlas.id, person_id=bob.id, role=Role.LEAD))
    for who in (mo, bob, eve):
        with pytest.raises(NotFound, match="that you have access to"):
            delete(world, who, atlas.public_id, "atlas")
    assert acts(world) == []


def test_a_deleted_project_is_gone_at_once_for_everybody_and_its_name_is_free(world: World) -> None:
    ada, bob = world.person("Ada", Role.ADMIN), world.person("Bob")
    atlas = world.project("atlas", ada, bob)
    delete(world, ada, atlas.public_id, "atlas")
    assert send(world, bob, atlas) == send(world, ada, atlas) == [ErrorCode.PROJECT]
    with pytest.raises(NotFound):
        delete(world, ada, atlas.public_id, "atlas")
    with world.reading() as session:
        assert session.scalars(select(ProjectMember)).all() == []
        assert "atlas" not in session.scalars(select(Project.name)).all()
    act(world, ada, lambda s, by: projects.create(s, by, "atlas"))
    assert purge(world) == 1
    assert acts(world) == ["project.deleted", "project.made", "project.purged"]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects, "STEP", 3)


@pytest.mark.usefixtures("small_steps")
def test_a_deleted_project_takes_its_own_along_in_steps_and_nothing_else(world: World) -> None:
    """Bob and Cem work on both projects by turns, so that the gaps between are shared by the two."""
    ada, bob, cem = world.person("Ada", Role.ADMIN), world.person("Bob"), world.person("Cem")
    atlas, borea = world.project("atlas", bob, cem), world.project("borea", bob, cem)
    core = world.team("core", {bob: Role.DEVELOPER})
    for who, shift in ((bob, 0), (cem, 2)):
        for number in range(16):
            at = NOW_MS - HOUR_MS + (number * 9 + shift) * MINUTE_MS
            deed = commit(STRANGER, f"{number}.py") if number % 5 == 4 else saved(f"{number}.py")
            world.report(who, (atlas, borea)[number % 2], (at, deed))
    world.refresh()
    with world.database.writing() as session:
        session.add_all(invitation(project) for project in (atlas, borea))
    before = kept(world, borea)

    delete(world, ada, atlas.public_id, "atlas")
    with world.reading() as session:
        events = session.scalar(select(func.count()).where(Event.project_id == atlas.id))
        files = session.scalar(select(func.count()).where(File.project_id == atlas.id))
        assert (events, files) == (16, 8)
    steps = 0
    while world.database.transact(lambda s: projects.purge(s, world.by(s))):
        steps += 1
        world.refresh()
        with world.reading() as session:
            assert stored(session) == recounted(session, world.calendar, world.vault)
            slicing.check_they_add_up(session)
    assert steps == 6 + 3 + 1  # events, files, and the rest

    assert kept(world, borea) == before
    with world.reading() as session:
        assert session.scalars(select(Project.name)).all() == ["borea"]
        for table in (Event, File, Cell, Slice, Mark, ProjectMember, Link):
            assert set(session.scalars(select(table.project_id))) <= {borea.id}
        assert session.scalar(select(func.count()).select_from(Person)) == 3
        assert session.scalar(select(func.count()).select_from(Device)) == 3
        assert session.scalars(select(Team.id)).all() == [core.id]
        assert session.scalars(select(TeamMember.person_id)).all() == [bob.id]
    assert acts(world) == ["project.deleted", "project.purged"]


def test_the_number_of_a_project_is_never_given_again(world: World) -> None:
    """Numbers of files are kept in memory by it."""
    ada = world.person("Ada", Role.ADMIN)
    atlas = world.project("atlas", ada)
    world.report(ada, atlas, (NOW_MS, saved("a.py")))
    world.report(ada, atlas, (NOW_MS + 1, saved("a.py")))
    delete(world, ada, atlas.public_id, "atlas")
    while world.database.transact(lambda s: projects.purge(s, world.by(s))):
        pass
    borea = world.project("borea", ada)
    world.report(ada, borea, (NOW_MS, saved("a.py")))
    with world.reading() as session:
        assert session.scalars(select(Event.files)).all() == [
            rollups.pack_files(session.scalars(select(File.id).filter_by(project_id=borea.id)))
        ]


def kept(world: World, project: Project) -> dict[str, list[object]]:
    """What has to be there as it was."""
    with world.reading() as session:
        tables = (Event.event_id, File.path_key, ProjectMember.person_id, Link.public_id)
        return {
            str(column): sorted(
                session.scalars(select(column).where(column.class_.project_id == project.id)), key=str
            )
            for column in tables
        }


def invitation(project: Project) -> Link:
    return Link(
        token_hash=uuid4().bytes * 2,
        public_id=uuid4(),
        purpose="invite",
        role="developer",
        project_id=project.id,
        created_at=NOW_MS,
    )


@pytest.mark.usefixtures("small_steps")
def test_a_project_is_emptied_beside_uploads_to_others(world: World) -> None:
    ada = world.person("Ada", Role.ADMIN)
    people = [world.person(name) for name in ("Bob", "Cem")]
    atlas, borea = world.project("atlas", *people), world.project("borea", *people)
    for who in people:
        world.report(who, atlas, *((NOW_MS + n * MINUTE_MS, saved(f"{n}.py")) for n in range(20)))
    delete(world, ada, atlas.public_id, "atlas")

    def upload(who: Member, number: int) -> None:
        world.report(who, borea, (NOW_MS + number * MINUTE_MS + 30_000, saved(f"{number}.py")))

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(upload, who, number) for number in range(12) for who in people]
        work += [pool.submit(world.refresh) for _ in range(6)]
        emptied = pool.submit(purge, world)
    for done in work:
        done.result()
    emptied.result()
    world.refresh()
    with world.reading() as session:
        assert session.scalars(select(Project.name)).all() == ["borea"]
        assert session.scalar(select(func.count()).select_from(Event)) == 24
        assert stored(session) == recounted(session, world.calendar, world.vault)


@pytest.mark.parametrize("backend", ["postgres"])  # on SQLite one waits before it has begun
def test_an_upload_that_began_before_the_deletion_is_emptied_too(world: World) -> None:
    ada, bob = world.person("Ada", Role.ADMIN), world.person("Bob")
    atlas = world.project("atlas", bob)
    world.make_partitions(NOW_MS)
    with ThreadPoolExecutor(1) as pool:
        with world.database.writing() as upload:
            # It was let in before, and now does what comes first: its files, which hold the project.
            delete(world, ada, atlas.public_id, "atlas")
            upload.add(File(project_id=atlas.id, path_key=bytes(16), path=b"", language=1))
            upload.flush()
            emptied = pool.submit(purge, world)
            wait_for_a_lock(world)
            upload.add(
                Event(
                    event_id=bytes(16),
                    timestamp=NOW_MS,
                    project_id=atlas.id,
                    device_id=bob.device,
                    local_id=1,
                    event_type=1,
                    data=b"",
                    received_at=NOW_MS,
                    person_id=bob.id,
                    insertions=0,
                    deletions=0,
                    files=b"",
                )
            )
        # The step that waited for the upload, one each for its event and its file, and the last.
        assert emptied.result() == 4
    with world.reading() as session:
        assert session.scalars(select(Project.id)).all() == []
    assert acts(world) == ["project.deleted", "project.purged"]
