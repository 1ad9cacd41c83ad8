"""What a mutation's transaction hands back besides its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from countersign.api.errors import ApiError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A credential that a mutation brought into being; its audit entry names it, so that keys can be tied to people."""

    credential_uuid: str
    user_id: str
    kind: str
    fingerprint: str


class Effect(msgspec.Struct, Generic[T], frozen=True):
    """``value`` for the answer; ``entities`` are the ids of what changed, for the audit entry.

    ``status`` and ``code``: of the answer, as the audit entry tells them; what is held or blocked is stored too.
    ``refused``: the caller is answered this error, and what the effect wrote stays all the same.
    """

    value: T
    entities: tuple[str, ...] = ()
    enrolled: tuple[Enrolled, ...] = ()
    status: int = 200
    code: str | None = None
    refused: ApiError | None = None
