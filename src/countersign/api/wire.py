"""Base of everything that travels as JSON: camelCase by one mechanical rule, closed on input."""

from __future__ import annotations

from typing import Any, dataclass_transform

import msgspec
from msgspec import UNSET, UnsetType

__all__ = ["UNSET", "Held", "Page", "UnsetType", "Wire", "decode", "encode"]


class _KeywordOnly(msgspec.StructMeta):
    # msgspec takes ``kw_only`` for one class only; wire objects are all of them keyword-only.
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> _KeywordOnly:
        return super().__new__(cls, name, bases, namespace, **{"kw_only": True, **config})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Wire(msgspec.Struct, metaclass=_KeywordOnly, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A wire object. An optional member that has no value is absent: type it ``T | UnsetType = UNSET``."""


class Held(Wire):
    """Base of what is answered with 202: the change was not made, it waits for an approval."""


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON."""
    return _ENCODER.encode(value)


def decode(value: dict[str, Any], type_: type[Any]) -> Any:
    """Read a parsed JSON object as ``type_``; raises ``msgspec.ValidationError`` naming the member."""
    return msgspec.convert(value, type_)


class Page(Wire):
    """Query of a list: ``limit`` 1 to 100 (default 50; more is clamped), ``paginationToken`` from the page before."""

    limit: str | UnsetType = UNSET
    pagination_token: str | UnsetType = UNSET
