"""A proxy on loopback that tunnels (CONNECT) for whoever knows its password, or answers as told."""

from __future__ import annotations

import base64
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ConnectProxy:
    """``asked`` are the request lines that came; ``answers`` is what it says instead of serving.

    With ``tls`` it is spoken to by TLS.
    """

    def __init__(
        self,
        user: str = "",
        password: str = "",
        answers: tuple[int, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.let_through = 0
        self._wanted = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None
        self._answers = answers
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._httpd.daemon_threads = True
        if tls is not None:
            self._httpd.socket = tls.wrap_socket(self._httpd.socket, server_side=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._httpd.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[ConnectProxy]:
        thread = threading.Thread(target=self._httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._httpd.shutdown()
            thread.join()
            self._httpd.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                owner.asked.append(self.requestline)
                self.close_connection = True
                if owner._wanted is not None and self.headers.get("Proxy-Authorization") != owner._wanted:
                    self.say(407, "")
                elif owner._answers is not None:
                    self.say(*owner._answers)
                elif self.command != "CONNECT":
                    self.say(405, "")
                else:
                    self.tunnel()

            do_CONNECT = do_GET = do_POST = respond  # noqa: N815 - the names http.server calls

            def say(self, status: int, location: str) -> None:
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def tunnel(self) -> None:
                host, _, port = self.path.rpartition(":")
                with socket.create_connection((host, int(port)), 10) as beyond:
                    owner.let_through += 1
                    self.send_response(200)
                    self.end_headers()
                    _pass_on(self.connection, beyond)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until either side is done or silent for long."""
    while ready := _read_already(one, other) or select.select([one, other], [], [], 10)[0]:
        for side in ready:
            if not (data := side.recv(65_536)):
                return
            (other if side is one else one).sendall(data)


def _read_already(*sides: socket.socket) -> list[socket.socket]:
    """Those with the rest of a record of TLS, of which the network knows nothing any more."""
    return [side for side in sides if isinstance(side, ssl.SSLSocket) and side.pending()]
