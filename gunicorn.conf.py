"""How gunicorn runs the server: one process, many threads, jobs beside the requests."""

import os
from typing import Any

from devflow import jobs, workspace
from devflow.config import Settings
from devflow.context import now_ms

wsgi_app = "app:app"
bind = os.environ.get("BIND", "0.0.0.0:8080")
worker_class = "gthread"
workers = 1
threads = 512
control_socket_disable = True
graceful_timeout = 10
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - a heartbeat file
accesslog = None


def on_starting(server: Any) -> None:
    """Once, before any worker: migrate, and hand out the set-up link while there is no account."""
    settings = Settings.load(os.environ)
    token = workspace.prepare(settings, now_ms())
    if token is not None:
        server.log.info("no account yet; make the first one at %s/setup/%s", settings.public_url, token)


def post_worker_init(worker: Any) -> None:
    worker.jobs = jobs.start(worker.wsgi.extensions["devflow"])


def worker_exit(_server: Any, worker: Any) -> None:
    if hasattr(worker, "jobs"):
        worker.jobs.shutdown()
