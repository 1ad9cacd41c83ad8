"""The embedded engine: SQLite in WAL mode, writes committed in batches.

One connection writes. Its statements run on the event loop's thread (a few microseconds each, in
memory); only COMMIT, which waits for the disk, runs on a thread of its own, the committer. What
arrives in the meantime forms the next batch: BEGIN IMMEDIATE, a savepoint for each transaction, one
COMMIT and so one fsync for all. Statements on the committer as well would cost a change of the
interpreter lock for each of them; measured, 16 writers get the same rate and lower latency this way.

Reads have a connection of their own and run synchronously: they see what is durable, never a batch
under way. Those of one round of the event loop see one state: to begin another costs as much as a
statement, and after a commit all pages have to be read again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from typing import Any, Generic

from countersign.storage.database import ConstraintViolated, Statistics, StorageUnavailable
from countersign.storage.sqlite_schema import BUSY_TIMEOUT_MS, cannot, connect, unavailable
from countersign.storage.transaction import Statement, T, Transaction

WAITING_LIMIT = 4096
"""Writes that may wait; one more is refused, so that memory and waiting time stay bounded."""

BATCH_LIMIT = 64
"""Transactions in one commit; bounds how long the statements of a batch hold the event loop."""

COMMITS_PER_CHECKPOINT = 256
PAGES_BEFORE_CHECKPOINT = 8000
"""The log's length (4 KiB pages) at which COMMIT itself copies it back, if the background did not keep up."""

_READ_CACHE = "cache_size=-128000"
"""KiB at the most, taken as pages are read: looking up a caller among millions misses a small one too often."""

_READ_MAP = "mmap_size=2147418112"
"""Bytes (the most that SQLite takes) of the file that reads see as memory: a page that nobody read lately then costs
no call and no copy. The writer has none, so a disk that fails it answers with an error and not with a signal."""

_WRITE_CACHE = "cache_size=-16000"
_PATIENCE_S = 0.002
_HANDOVER_S = 0.001


class _Round(Enum):
    """Reads in the current round of the event loop. The first one alone is not worth a transaction."""

    NO_READ = "no read"
    ONE_READ = "one read"
    ONE_STATE = "one state"


class _Order(Enum):
    BEGIN = "begin"
    COMMIT = "commit"
    STOP = "stop"


@dataclass(slots=True, eq=False)
class _Write(Generic[T]):
    """One caller waiting: how to make its transaction, and where its value goes."""

    make: Callable[[], Transaction[T]]
    future: asyncio.Future[T]
    value: Any = None

    def succeed(self) -> None:
        if not self.future.done():
            self.future.set_result(self.value)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class SqliteDatabase:
    """A ``Database`` over one SQLite file; made by ``open``."""

    engine: str = "sqlite"

    def __init__(self, path: str, *, readonly: bool) -> None:
        self.statistics = Statistics()
        self._path = path
        self._readonly = readonly
        self._loop = asyncio.get_running_loop()
        self._reader: sqlite3.Connection | None = None
        self._reading: sqlite3.Cursor | None = None
        self._round = _Round.NO_READ
        self._writer: sqlite3.Connection | None = None
        self._writing: sqlite3.Cursor | None = None
        self._waiting: list[_Write[Any]] = []
        self._batch: list[_Write[Any]] = []
        self._busy = False
        self._closed = False
        self._idle: asyncio.Future[None] | None = None
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._under_way = threading.Lock()
        self._watch: asyncio.TimerHandle | None = None
        self._checkpoint: asyncio.Future[None] | None = None
        self._listeners: dict[Statement, Callable[[], None]] = {}
        # Of the batch under way: whom its commit concerns.
        self._concerned: set[Callable[[], None]] = set()
        self._committer = threading.Thread(target=self._serve, name="sqlite-committer", daemon=True)
        self._open_reader()
        if not readonly:
            self._open_writer()
        self._committer.start()

    @classmethod
    def open(cls, path: str, *, readonly: bool = False) -> SqliteDatabase:
        """Open an existing, migrated file on the running event loop. Raises ``StorageUnavailable``."""
        return cls(path, readonly=readonly)

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        """Run statements that change nothing (``Database.read``), without leaving the thread."""
        if self._closed:
            raise StorageUnavailable("the database is closed")
        try:
            cursor = self._reading or self._open_reader()
            if self._round is _Round.NO_READ:
                self._round = _Round.ONE_READ
                # Before anything that is told, or arrives, from now on: so that no read sees a state older than what
                # its caller knows.
                self._loop.call_soon(self._end_round)
            elif self._round is _Round.ONE_READ:
                cursor.execute("BEGIN")
                self._round = _Round.ONE_STATE
            return self._run(cursor, make())
        except sqlite3.Error as error:
            if cannot(error) is None:
                raise
            raise unavailable(error, "cannot be read") from error

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a transaction in the next batch (``Database.write``)."""
        if self._closed:
            raise StorageUnavailable("the database is closed")
        if self._readonly:
            raise StorageUnavailable("the database was opened for reading only")
        if len(self._waiting) >= WAITING_LIMIT:
            raise StorageUnavailable("too many writes are waiting; try again later")
        write: _Write[T] = _Write(make, self._loop.create_future())
        self._waiting.append(write)
        if not self._busy:
            self._busy = True
            # Not at once: what else is ready in this round of the loop joins the batch.
            self._loop.call_soon(self._next_batch)
        return await write.future

    def on_commit(self, statement: Statement, tell: Callable[[], None]) -> None:
        """Be told of commits (``Database.on_commit``); one listener for each statement."""
        self._listeners[statement] = tell

    async def close(self) -> None:
        """Finish the writes under way, copy the log back and close (``Database.close``)."""
        if self._closed:
            return
        self._closed = True
        if self._busy:
            self._idle = self._loop.create_future()
            await self._idle
        if self._checkpoint is not None:
            await self._checkpoint
        self._orders.put(_Order.STOP)
        self._committer.join()
        self._close_writer()
        self._close_reader()

    # On the event loop's thread: reads.

    def _open_reader(self) -> sqlite3.Cursor:
        self._reader = connect(self._path, f"busy_timeout={BUSY_TIMEOUT_MS}", "query_only=ON", _READ_CACHE, _READ_MAP)
        self._reading = self._reader.cursor()
        return self._reading

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._reading = None

    def _end_round(self) -> None:
        self._round = _Round.NO_READ
        # After some errors SQLite has ended the transaction by itself.
        if self._reader is not None and self._reader.in_transaction:
            try:
                self._reader.execute("COMMIT")
            except sqlite3.Error:
                # Nobody may go on reading this state.
                self._close_reader()

    # On the event loop's thread: batches.

    def _next_batch(self) -> None:
        taken, self._waiting = self._waiting[:BATCH_LIMIT], self._waiting[BATCH_LIMIT:]
        self._batch = [each for each in taken if not each.future.cancelled()]
        if not self._batch and self._waiting:
            self._loop.call_soon(self._next_batch)
            return
        if not self._batch:
            self._rest()
            return
        self.statistics.write_transactions += len(self._batch)
        try:
            cursor = self._open_writer()
            cursor.execute("BEGIN IMMEDIATE")
        except StorageUnavailable as error:
            self._fail_batch(error)
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                # Another process writes. The committer waits for it, not the event loop.
                self._hand_over(_Order.BEGIN)
            else:
                self._fail_batch(unavailable(error, "cannot be written"))
        else:
            self._run_batch(cursor)

    def _run_batch(self, cursor: sqlite3.Cursor) -> None:
        try:
            if len(self._batch) == 1:
                self._run_alone(cursor, self._batch[0])
            else:
                self._batch = [each for each in self._batch if self._run_guarded(cursor, each)]
        except StorageUnavailable as error:
            self._fail_batch(error)
            return
        except sqlite3.Error as error:
            self._fail_batch(unavailable(error, "cannot be written"))
            return
        if self._batch:
            self._hand_over(_Order.COMMIT)
        else:
            self._undo()
            self._loop.call_soon(self._next_batch)

    def _run_alone(self, cursor: sqlite3.Cursor, write: _Write[Any]) -> None:
        try:
            write.value = self._run(cursor, write.make())
        except Exception as error:
            self._spare_batch(error)
            write.fail(error)
            self._batch = []

    def _run_guarded(self, cursor: sqlite3.Cursor, write: _Write[Any]) -> bool:
        cursor.execute("SAVEPOINT one")
        try:
            write.value = self._run(cursor, write.make())
        except Exception as error:
            self._spare_batch(error)
            cursor.execute("ROLLBACK TO one")
            cursor.execute("RELEASE one")
            write.fail(error)
            return False
        cursor.execute("RELEASE one")
        return True

    def _spare_batch(self, error: Exception) -> None:
        """Return if the error concerns one transaction alone; raise if the engine itself failed.

        On a full disk and the like SQLite may have undone the whole transaction, savepoints and all
        (https://sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
        """
        if isinstance(error, sqlite3.Error) and cannot(error) is not None:
            raise unavailable(error, "cannot be written") from error

    def _run(self, cursor: sqlite3.Cursor, transaction: Transaction[T]) -> T:
        statistics = self.statistics
        try:
            statement, arguments = next(transaction)
            while True:
                statistics.statements += 1
                rows = cursor.execute(statement.sql, arguments).fetchall()
                if statement in self._listeners:
                    self._concerned.add(self._listeners[statement])
                statement, arguments = transaction.send(rows)
        except StopIteration as end:
            value: T = end.value
            return value
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(statement.name) from error

    def _hand_over(self, order: _Order) -> None:
        self._under_way.acquire()
        self._orders.put(order)
        self._watch = self._loop.call_later(_PATIENCE_S, self._let_committer_in, _PATIENCE_S)

    def _let_committer_in(self, patience: float) -> None:
        """Give the interpreter lock to the committer.

        An event loop that always finds something ready releases the lock only for instants too short
        for another thread to wake up in, and would starve it for seconds. If it is the disk that is slow,
        each try waits twice as long as the one before.
        """
        if self._under_way.acquire(timeout=_HANDOVER_S):
            self._under_way.release()
        else:
            self._watch = self._loop.call_later(2 * patience, self._let_committer_in, 2 * patience)

    def _begun(self, error: sqlite3.Error | None) -> None:
        self._stop_watching()
        if error is not None:
            self._fail_batch(unavailable(error, "cannot be written"))
        elif self._writing is not None:
            self._run_batch(self._writing)

    def _committed(self, error: sqlite3.Error | None) -> None:
        self._stop_watching()
        if error is not None:
            # After a failed sync the log may yet hold the batch; after a full disk it does not.
            unknown = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR
            self._fail_batch(unavailable(error, "cannot be written", unknown_outcome=unknown))
            return
        for each in self._batch:
            each.succeed()
        self._batch = []
        while self._concerned:
            self._loop.call_soon(self._concerned.pop())
        self.statistics.commits += 1
        if self.statistics.commits % COMMITS_PER_CHECKPOINT == 0:
            self._start_checkpoint()
        if self._waiting:
            # After the callers just woken, whose next writes join the batch.
            self._loop.call_soon(self._next_batch)
        else:
            self._rest()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _fail_batch(self, error: StorageUnavailable) -> None:
        for each in self._batch:
            each.fail(error)
        self._batch = []
        # A new connection for the next batch: one opened while the disk was read-only stays so.
        self._undo()
        self._close_writer()
        self._loop.call_soon(self._next_batch)

    def _undo(self) -> None:
        if self._writer is not None and self._writer.in_transaction:
            try:
                self._writer.execute("ROLLBACK")
            except sqlite3.Error:
                self._close_writer()  # which rolls back as well

    def _rest(self) -> None:
        self._busy = False
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _open_writer(self) -> sqlite3.Cursor:
        if self._writing is None:
            self._writer = connect(
                self._path,
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=OFF",
                "busy_timeout=0",
                "journal_size_limit=67108864",
                f"wal_autocheckpoint={PAGES_BEFORE_CHECKPOINT}",
                _WRITE_CACHE,
            )
            self._writing = self._writer.cursor()
        return self._writing

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = self._writing = None

    def _start_checkpoint(self) -> None:
        if self._checkpoint is None or self._checkpoint.done():
            self._checkpoint = self._loop.run_in_executor(None, self._copy_back)

    # On other threads.

    def _copy_back(self) -> None:
        """Copy the log into the database file without stopping readers or writers."""
        try:
            connection = connect(self._path, "synchronous=FULL")
        except StorageUnavailable:
            # Nothing is lost: the log holds everything, and the next one tries again.
            return
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.OperationalError:
            return  # as above
        finally:
            connection.close()

    def _serve(self) -> None:
        while (order := self._orders.get()) is not _Order.STOP:
            if order is _Order.BEGIN:
                answer, callback = self._wait_and_begin(), self._begun
            else:
                answer, callback = self._attempt("COMMIT"), self._committed
            self._under_way.release()
            try:
                self._loop.call_soon_threadsafe(callback, answer)
            except RuntimeError:
                return  # the event loop is gone, and with it everyone who waits

    def _wait_and_begin(self) -> sqlite3.Error | None:
        try:
            self._attempt(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            return self._attempt("BEGIN IMMEDIATE")
        finally:
            self._attempt("PRAGMA busy_timeout=0")

    def _attempt(self, sql: str) -> sqlite3.Error | None:
        if self._writing is not None:
            try:
                self._writing.execute(sql)
            except sqlite3.Error as error:
                return error
        return None
