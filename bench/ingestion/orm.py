"""The application that asks the ORM for each event, run as ours is: one gunicorn worker."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from bench.ingestion import sending
from bench.ingestion.orm_app import Base, Project, Sender, create_engine_of, digest
from bench.ingestion.ours import BATCH, Pc, Run
from bench.ingestion.processes import answering, cpu_s, only_child
from bench.ingestion.sending import Door
from tests.postgres import free_port
from tests.server_process import ROOT

TOKEN: Final = "token of the only PC"
_GUNICORN: Final = (sys.executable, "-m", "gunicorn", "--workers=1", "--threads=8", "--keep-alive=75")


def run(pc: Pc, batches: int) -> Run:
    """Send what the PC sends."""
    bodies = [pc.batch(number) for number in range(batches + 1)]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        folder, port = Path(name).resolve(), free_port()
        _prepare(folder / "orm.db", pc)
        app = f"bench.ingestion.orm_app:create_app('{folder / 'orm.db'}')"
        # From a folder in which gunicorn does not find the settings of our server.
        command = [*_GUNICORN, f"--bind=127.0.0.1:{port}", f"--pythonpath={ROOT}", app]
        with answering(command, port, folder) as pid:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
            door = Door(port, "/sync/events", headers, taken=b'"success":true')
            sending.send(door, bodies[:1])
            worker = only_child(pid)
            before = cpu_s(worker)
            marks = sending.send_at_once([door], [bodies[1:]])
            return Run(marks, BATCH, (cpu_s(worker) - before) / (batches * BATCH) * 1e6)


def _prepare(path: Path, pc: Pc) -> None:
    engine = create_engine_of(str(path))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Sender(token_digest=digest(TOKEN), device_id=1, person_id=1))
        session.add(Project(public_id=pc.project))
        session.commit()
    engine.dispose()
