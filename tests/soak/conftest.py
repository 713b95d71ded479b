"""What takes minutes: run by ``make soak``, on the same fixtures as the tests of the server."""

from tests.server.conftest import world

__all__ = ["world"]
