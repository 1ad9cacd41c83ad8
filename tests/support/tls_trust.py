"""One TLS context for all HTTP clients of the tests that want no other.

To read the certificates of all public authorities takes longer than the test that makes the client, and no test has
need of one of them.
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import Any

from httpx import _config
from httpx._transports import default

_make = _config.create_ssl_context


@cache
def _public(*_: str | None) -> ssl.SSLContext:
    return _make()


def _shared(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None and trust_env:
        return _public(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return _make(verify=verify, cert=cert, trust_env=trust_env)


def share() -> None:
    """From now on."""
    default.create_ssl_context = _shared
