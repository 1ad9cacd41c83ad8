"""Whether a roster is behind, as a connection to who keeps it learns and forgets it."""

from __future__ import annotations

import pytest

from countersign.keystores.outcome import SignerRefused, SignerUnavailable
from countersign.keystores.protocol import Order
from countersign.keystores.roster_line import Mark, RosterLine

KNOWN: Mark = (3, "ab" * 32)
AS_IT_WAS = bytes.fromhex(KNOWN[1])


class Keeper(RosterLine):
    """A connection whose other end answers as it is told, and a database that gives the mark or fails."""

    open = True
    roster_mark = None

    def __init__(self) -> None:
        super().__init__("/nowhere", "signer", self.known)
        self.answer: bytes | Exception = AS_IT_WAS
        self.mark: Mark | Exception | None = KNOWN

    async def known(self) -> Mark | None:
        if isinstance(self.mark, Exception):
            raise self.mark
        return self.mark

    async def _order(self, order: Order) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def _greet(self) -> None: ...

    async def _look(self) -> None: ...


async def test_no_key_is_used_before_the_roster_is_compared_nor_after_the_connection_is_lost() -> None:
    keeper = Keeper()
    assert "was not compared yet" in (keeper.roster_trouble or "")
    await keeper._compare()
    assert keeper.roster_trouble is None
    keeper._drop()
    assert "was not compared yet" in (keeper.roster_trouble or "")


@pytest.mark.parametrize("trouble", ["the mark", "the keeper"])
async def test_what_cannot_be_compared_is_not_taken_for_the_newest(trouble: str) -> None:
    keeper = Keeper()
    if trouble == "the mark":
        keeper.mark = RuntimeError("the database is away")
    else:
        keeper.answer = SignerUnavailable("gone")
    await keeper._compare_first()
    assert "was not compared yet" in (keeper.roster_trouble or "")
    keeper.mark, keeper.answer = KNOWN, AS_IT_WAS
    await keeper._compare_first()
    assert keeper.roster_trouble is None


@pytest.mark.parametrize(
    ("answer", "said"), [(b"", "lacks some of the 3 records"), (b"\1" * 32, "record 3 is not the one that it had")]
)
async def test_an_older_roster_and_another_are_told_apart_from_the_one_that_was(answer: bytes, said: str) -> None:
    keeper = Keeper()
    keeper.answer = answer
    await keeper._compare()
    assert said in (keeper.roster_trouble or "")
    # Nothing but another look makes it good again.
    await keeper._compare_first()
    assert said in (keeper.roster_trouble or "")


async def test_a_roster_that_is_kept_for_no_restart_is_behind_nothing() -> None:
    keeper = Keeper()
    keeper.answer = SignerRefused("Unsupported", "no roster is kept")
    await keeper._compare()
    assert keeper.roster_trouble is None
