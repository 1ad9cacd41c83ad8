"""The request nonce: the forms that clients send, and a memory that holds across processes and restarts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.access import nonce
from countersign.encoding import base64url
from countersign.storage import Database, open_database
from tests.support.vectors import auth_vectors, named

NOW = 1_790_000_000_000
DATE = "2026-09-21T14:13:20.000Z"


@pytest.mark.parametrize("case", **named(auth_vectors()["nonce"]["cases"]))
@pytest.mark.parametrize("strict", [False, True], ids=["compat", "strict"])
def test_a_nonce_is_read_as_published(case: dict[str, Any], strict: bool) -> None:
    parsed = nonce.parse(case["header"], NOW, strict=strict)
    assert isinstance(parsed, nonce.Nonce) == case["valid_strict" if strict else "valid_compat"]


def header(identifier: str, date: str = DATE) -> str:
    return base64url.encode(json.dumps({"uuid": identifier, "date": date}).encode())


def test_an_operator_may_ask_for_longer_ids() -> None:
    assert isinstance(nonce.parse(header("a" * 19), NOW, strict=False, least_length=20), nonce.Refused)
    assert isinstance(nonce.parse(header("a" * 20), NOW, strict=False, least_length=20), nonce.Nonce)
    assert isinstance(nonce.parse(header("a" * 12), NOW, strict=True, least_length=12), nonce.Refused)


def test_a_nonce_is_remembered_until_its_window_has_passed_on_every_clock() -> None:
    parsed = nonce.parse(header("a" * 20), NOW, strict=True)
    assert isinstance(parsed, nonce.Nonce)
    assert parsed.expires_at - NOW == nonce.PAST_MS + nonce.FUTURE_MS


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=600) | st.binary(max_size=400).map(base64url.encode))
def test_threat_60_nothing_but_a_nonce_is_a_nonce(text: str) -> None:
    assert isinstance(nonce.parse(text, NOW, strict=True), nonce.Refused)
    assert isinstance(nonce.parse(text, NOW, strict=False), nonce.Refused)


async def test_threat_1_a_nonce_is_taken_once_in_its_scope(database: Database) -> None:
    first = nonce.Nonce("00" * 32, NOW + 1)
    assert await database.write(lambda: nonce.remember("or-1", first))
    assert not await database.write(lambda: nonce.remember("or-1", first))
    assert await database.write(lambda: nonce.remember("or-2", first))


async def test_threat_1_of_50_at_once_over_two_connections_one_is_fresh(database: Database, database_url: str) -> None:
    once = nonce.Nonce("11" * 32, NOW + 1)
    other = await open_database(database_url, migrate=False)
    try:
        both = [database, other]
        tries = [both[number % 2].write(lambda: nonce.remember("or-1", once)) for number in range(50)]
        assert sum(await asyncio.gather(*tries)) == 1
    finally:
        await other.close()


async def test_threat_2_a_restart_forgets_no_nonce_within_its_window(database: Database, database_url: str) -> None:
    once = nonce.Nonce("22" * 32, NOW + 1)
    assert await database.write(lambda: nonce.remember("or-1", once))
    await database.write(lambda: nonce.forget(NOW + 1))
    again = await open_database(database_url, migrate=False)
    try:
        assert not await again.write(lambda: nonce.remember("or-1", once))
        await again.write(lambda: nonce.forget(NOW + 2))
        assert await again.write(lambda: nonce.remember("or-1", once))
    finally:
        await again.close()
