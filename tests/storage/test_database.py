"""What both engines do alike."""

from __future__ import annotations

from countersign.storage import Database, Statement, Transaction

PUT = Statement("put", "INSERT INTO installation (name, value) VALUES (?, ?)")
GET = Statement("get", "SELECT value FROM installation WHERE name = ?")


def put(name: str, value: str) -> Transaction[str]:
    yield PUT, (name, value)
    return value


def get(name: str) -> Transaction[str | None]:
    rows = yield GET, (name,)
    return rows[0][0] if rows else None


async def test_what_a_transaction_wrote_is_read_afterwards(database: Database) -> None:
    assert await database.write(lambda: put("colour", "blue")) == "blue"
    assert await database.read(lambda: get("colour")) == "blue"
