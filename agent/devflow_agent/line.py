"""Requests that can be cut off while they wait: what is switched off must not go on until a timeout."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

LOOK_EVERY_S: Final = 0.2


class _Line:
    """The sockets of a session; once cut, no other one is opened."""

    def __init__(self) -> None:
        self._sockets: set[socket.socket] = set()
        self._is_cut = False
        self._changing = threading.Lock()

    def opened(self, opened: Any) -> None:
        while not isinstance(opened, socket.socket):  # of TLS within that to a proxy
            opened = opened.socket
        with self._changing:
            if self._is_cut:
                opened.close()
                raise ConnectionAbortedError("it was switched off meanwhile")
            self._sockets = {each for each in self._sockets if each.fileno() != -1} | {opened}

    def cut(self) -> None:
        with self._changing:
            self._is_cut = True
            for each in self._sockets:
                with suppress(OSError):
                    # Of TLS too the plain one: whoever waits on it sees an end, and goes.
                    socket.socket.shutdown(each, socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """The adapter of requests, whose connections tell the line of their sockets."""

    def __init__(self, line: _Line) -> None:
        self._pools = _pools(line)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(line: _Line) -> dict[str, Any]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            line.opened(self.sock)

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            line.opened(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


@contextmanager
def cut_off_when(http: requests.Session, is_off: Callable[[], bool]) -> Iterator[None]:
    """Within the block, end requests of the session as soon as ``is_off``, also those that wait.

    They raise as if the connection was lost. ``is_off`` is asked in a thread of its own.
    """
    line = _Line()
    before = dict(http.adapters)
    for scheme in ("http://", "https://"):
        http.mount(scheme, _Adapter(line))
    over = threading.Event()
    looking = threading.Thread(target=_look, args=(line, is_off, over), name="cut off", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
        for scheme, adapter in before.items():
            http.get_adapter(scheme).close()
            http.mount(scheme, adapter)


def _look(line: _Line, is_off: Callable[[], bool], over: threading.Event) -> None:
    while not over.wait(LOOK_EVERY_S):
        if is_off():
            line.cut()
            return
