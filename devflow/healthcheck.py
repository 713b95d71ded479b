"""Ask the server in this container whether it can do its work: ``python -m devflow.healthcheck [PORT]``."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Final

PORT: Final = "8080"
TIMEOUT_S: Final = 4


def ask(environ: Mapping[str, str], port: str = PORT) -> str | None:
    """What is wrong, None if nothing is."""
    scheme = "https" if environ.get("DEVFLOW_TLS_CERT") else "http"
    # Nobody stands between a container and itself, and the certificate is for another name.
    nobody = ssl.create_default_context()
    nobody.check_hostname = False
    nobody.verify_mode = ssl.CERT_NONE
    try:
        urllib.request.urlopen(  # noqa: S310 - the two schemes above
            f"{scheme}://127.0.0.1:{port}/healthz", timeout=TIMEOUT_S, context=nobody
        ).close()
    except (urllib.error.URLError, OSError) as error:
        return f"expected an answer of {scheme}://127.0.0.1:{port}/healthz, got: {error}"
    return None


if __name__ == "__main__":
    sys.exit(ask(os.environ, *sys.argv[1:2]))
