"""The server's worker, with less patience: its deadlines come after three seconds."""

from devflow.web import worker
from devflow.web.worker import Worker

worker.HEAD_S = worker.BODY_S = 3  # type: ignore[misc]
worker.CHECK_EVERY_S = 0.1  # type: ignore[misc]

__all__ = ["Worker"]
