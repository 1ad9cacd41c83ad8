"""The statements and transactions of the storage tests, over the table ``installation``."""

from __future__ import annotations

from countersign.storage import Statement, Transaction

PUT = Statement("put", "INSERT INTO installation (name, value) VALUES (?, ?)")
PUT_ONCE = Statement(
    "put_once", "INSERT INTO installation (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING name"
)
GET = Statement("get", "SELECT value FROM installation WHERE name = ?")
COUNT = Statement("count", "SELECT count(*) FROM installation")
SPEND = Statement("spend", "UPDATE installation SET value = ? WHERE name = ? AND value = ? RETURNING name")
NONSENSE = Statement("nonsense", "SELECT value FROM nowhere")


class Refused(Exception):
    """What a domain raises inside a transaction."""


def put(name: str, value: str) -> Transaction[str]:
    yield PUT, (name, value)
    return value


def put_then_refuse(name: str) -> Transaction[None]:
    yield PUT, (name, "never")
    raise Refused(name)


def get(name: str) -> Transaction[str | None]:
    rows = yield GET, (name,)
    return rows[0][0] if rows else None


def count() -> Transaction[int]:
    rows = yield COUNT, ()
    return int(rows[0][0])


def spend(name: str, caller: str) -> Transaction[bool]:
    rows = yield SPEND, (f"spent by {caller}", name, "unspent")
    return bool(rows)


def nonsense() -> Transaction[None]:
    yield NONSENSE, ()
