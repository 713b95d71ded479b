"""How gunicorn runs the server: one process, many threads, jobs beside the requests.

The address is the one thing an operator may want to change: ``--bind``, or GUNICORN_CMD_ARGS.
"""

import gc
import logging
import os
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devflow import jobs, logs, starting, tls
from devflow.config import Settings
from devflow.context import now_ms
from devflow.errors import DevflowError
from devflow.web.worker import trim_memory

wsgi_app = "app:app"
bind = "0.0.0.0:8080"
worker_class = "devflow.web.worker.Worker"  # gthread, with deadlines for slow clients
workers = 1  # SQLite has one writer; a second process would add nothing but waiting
threads = 768  # made when first needed; a stream holds one, and both live.MOST leave the others to requests
worker_connections = 2_000  # what is beyond the threads may wait idle, kept alive
keepalive = 75  # longer than proxies keep an idle connection (nginx 60 s): never closed under a request
graceful_timeout = 5  # container engines kill 10 s after SIGTERM
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - a heartbeat file
control_socket_disable = True
errorlog = "-"  # standard error
accesslog = None

# Whose headers count is decided in one place, devflow/web/proxies.py: gunicorn itself would trust
# loopback and unix sockets to name the scheme, the path and the script.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

certfile = os.environ.get(tls.CERT) or None
keyfile = os.environ.get(tls.KEY) or None
_renewing = tls.Renewing(Path(certfile or ""), Path(keyfile or ""))


def ssl_context(_config: Any, _default: Any) -> ssl.SSLContext:
    """Asked for every connection, if there is a certificate."""
    return _renewing.current()


logs.begin()
logging.getLogger("devflow.anchors").setLevel(logging.INFO)  # the end of the audit trail, once a day


def on_starting(server: Any) -> None:
    """Once, before any worker: migrate, and make a set-up link while there is no account."""
    try:
        server.settings = Settings.load(os.environ)
        check_certificate(server)
        server.setup_token = starting.prepare(server.settings, now_ms())
    except (DevflowError, OSError) as error:
        # What an operator can mend needs a sentence, not a traceback.
        raise SystemExit(f"devflow cannot start: {str(error).splitlines()[0]}") from error


def check_certificate(server: Any) -> None:
    settings = server.settings
    if settings.tls_cert:
        warning = tls.check(Path(settings.tls_cert), Path(settings.tls_key), datetime.now(UTC))
        if warning is not None:
            server.log.warning(warning)


def when_ready(server: Any) -> None:
    """The socket is open now, so a link that is printed can be followed."""
    if server.setup_token is not None:
        link = f"{server.settings.public_url.rstrip('/')}/setup/{server.setup_token}"
        server.log.warning("There is no account yet. Make the first one, an admin's, here:\n\n    %s\n", link)


def post_worker_init(worker: Any) -> None:
    from devflow.web.api import live  # with all of Flask, which the process above the workers need not load

    context = worker.wsgi.extensions["devflow"]
    # What is loaded now stays: the collector need not walk through it again and again, which takes a
    # tenth of the time of large uploads.
    gc.collect()
    trim_memory()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    worker.jobs = jobs.start(context)

    def end_streams() -> None:
        live.of(worker.wsgi).end()
        context.hub.end()

    worker.end_streams = end_streams
    # Reads the ids of all events, of millions for some seconds; uploads wait for it, nothing else does.
    threading.Thread(target=context.intake.known.load, args=(context.database,), daemon=True).start()


def worker_exit(_server: Any, worker: Any) -> None:
    if hasattr(worker, "jobs"):
        jobs.stop(worker.jobs, worker.wsgi.extensions["devflow"])
