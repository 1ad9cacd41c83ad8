"""Rows of a sandbox's database, read beside the server."""

from __future__ import annotations

from countersign.storage import Row, Statement, Transaction, open_database
from tests.support import aio
from tests.support.server import Sandbox


def select(sandbox: Sandbox, sql: str) -> list[Row]:
    """What the statement answers, on either engine."""

    def transaction() -> Transaction[list[Row]]:
        rows = yield Statement("select", sql), ()
        return list(rows)

    async def read() -> list[Row]:
        assert sandbox.database is not None
        database = await open_database(sandbox.database, migrate=False, readonly=True)
        try:
            return await database.read(transaction)
        finally:
            await database.close()

    return aio.run(read())


def all_final(sandbox: Sandbox) -> bool:
    """Whether no signature request is in a state that something must still follow."""
    return select(sandbox, "SELECT count(*) FROM signatures WHERE status NOT IN ('Signed', 'Failed')")[0][0] == 0
