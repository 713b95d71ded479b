"""The server's worker with less patience: deadlines come after three seconds, pings twice a second."""

from devflow.web import websocket, worker
from devflow.web.worker import Worker

worker.HEAD_S = worker.BODY_S = 3  # type: ignore[misc]
worker.CHECK_EVERY_S = 0.1  # type: ignore[misc]
websocket.PING_S = 0.5  # type: ignore[misc]

__all__ = ["Worker"]
