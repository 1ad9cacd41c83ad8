"""What the signer's troubles are to a caller of the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from countersign.api import ApiError
from countersign.keystores import SignerClient, SignerRefused, SignerSealed, SignerUnavailable

log = structlog.get_logger("countersign.keys")


def require(signer: SignerClient) -> None:
    """503 while no order could be carried out, so that no consent is spent for nothing."""
    if signer.sealed:
        raise ApiError("KEYSTORE_SEALED")
    if not signer.available:
        raise ApiError("SIGNER_UNAVAILABLE")


@contextmanager
def answered(key_id: str) -> Iterator[None]:
    """Turn what an order about this key ends with into the answer to the caller; nothing was stored so far.

    400 where the store does not offer it, 403 where the signer denies it, 503 while it cannot be asked. A record that
    does not open is a fault, and logged as one.
    """
    try:
        yield
    except SignerSealed:
        raise ApiError("KEYSTORE_SEALED") from None
    except SignerUnavailable as error:
        raise ApiError("SIGNER_UNAVAILABLE", reason=str(error)) from None
    except SignerRefused as error:
        if error.code == "Unsupported":
            raise ApiError("KEY_UNSUPPORTED", reason=error.reason) from None
        log.warning("signer refused", code=error.code, reason=error.reason, key_id=key_id)
        if error.code in ("Denied", "NotFound"):
            raise ApiError("SIGNER_REFUSED", reason=error.reason) from None
        raise ApiError("INTERNAL", reason=str(error)) from None
