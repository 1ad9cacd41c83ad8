"""Grant level G2 on a real server, which asks an authoriser in a process of its own for each use of a key."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest

from countersign.access.keyring import KeyRing
from countersign.server.authorising import open_authoriser
from countersign.server.settings import BadSettings, Settings
from countersign.storage import Database
from tests.clients.sdk_python import python_client
from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.commands import Done, countersign, refusal
from tests.support.enrolment import NewKey, action_with, enrolled
from tests.support.server import Sandbox

G2 = {"COUNTERSIGN_GRANT_LEVEL": "G2"}
HASH = {"kind": "Hash", "hash": "ab" * 32}


def keystore(sandbox: Sandbox, *arguments: object, env: dict[str, str] | None = None) -> Done:
    return countersign("keystore", *arguments, "--data", sandbox.directory, env=G2 if env is None else env)


async def test_a_server_without_an_authoriser_does_not_start_at_g2(tmp_path: Path) -> None:
    for profile in ("production", "sandbox"):
        settings = Settings(
            profile=profile, grant_level="G2", authoriser_embedded=True, authoriser_key=str(tmp_path / "k")
        )
        nothing = cast("Database", None), cast("KeyRing", None)
        async with AsyncExitStack() as stack:
            with pytest.raises(BadSettings, match="has no authoriser of its own"):
                await open_authoriser(settings, *nothing, None, stack, first_process=True)
            with pytest.raises(BadSettings, match="can't be read"):
                await open_authoriser(settings, *nothing, "au-1", stack, first_process=True)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, str]]:
    """An installation that was made at G3 and moved to G2, as its operator does it; with a key from before."""
    sandbox = Sandbox(tmp_path_factory.mktemp("g2") / "data")
    file, path = sandbox.directory / "authoriser.key", "/keys/{}/signatures"
    with sandbox, Caller(sandbox.service) as caller:
        key = caller.create_key("ECDSA", "secp256k1")
        enrolled(caller, NewKey())
        made = keystore(sandbox, "authoriser", env={})
        assert made.status == 0, made.errors
        assert "exists already" in refusal(keystore(sandbox, "authoriser", env={}))
        done = keystore(sandbox, "rotate-root", "--authoriser", file, "--settle", 0, env={})
        assert done.status == 0, done.errors
        # The root names the authoriser now: the server's own grants are worth nothing, and it knows.
        until("it is told", lambda: caller.http.get("/readyz").json()["signer"] == "ungranted")
        assert caller.signed("POST", path.format(key), HASH).json()["error"]["code"] == "SIGNER_UNAVAILABLE"
    beside = Sandbox(sandbox.directory, environment={"COUNTERSIGN_AUTHORISER": "process"})
    with beside, Caller(beside.service) as caller:
        assert caller.signed("POST", path.format(key), HASH).json()["status"] == "Signed"
    with Sandbox(sandbox.directory, environment=G2) as serving:
        yield serving, key


def test_keys_are_used_through_the_official_sdk(moved: tuple[Sandbox, str]) -> None:
    sandbox, key = moved
    with python_client(sandbox.service) as dfns:
        assert dfns.keys.generate_signature(key, HASH)["status"] == "Signed"
        new = dfns.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})
        assert dfns.keys.generate_signature(new["id"], {"kind": "Message", "message": "00"})["status"] == "Signed"
        assert dfns.keys.delete_key(new["id"])["status"] == "Archived"


def test_a_credential_enrolled_before_and_one_of_a_moment_ago_consent(moved: tuple[Sandbox, str]) -> None:
    sandbox, key = moved
    document = json.loads(keystore(sandbox, "roster", "--json").output)
    assert [store["storeId"][:2] for store in document["stores"]] == ["ks", "au"]
    assert document["differences"] == []
    assert len(document["stores"][1]["credentials"]) >= 3
    path = f"/keys/{key}/signatures"
    with Caller(sandbox.service) as caller:
        new = NewKey()
        enrolled(caller, new)
        token = action_with(caller, "POST", path, HASH, new).json()["userAction"]
        assert caller.send("POST", path, HASH, action=token).json()["status"] == "Signed"


def test_while_the_authoriser_is_away_nothing_is_spent_and_it_comes_back(moved: tuple[Sandbox, str]) -> None:
    sandbox, key = moved
    path = f"/keys/{key}/signatures"
    with Caller(sandbox.service) as caller:
        token = caller.action_token("POST", path, HASH)
        key_file = sandbox.directory / "authoriser.key"
        away = key_file.rename(key_file.with_suffix(".away"))
        os.kill(sandbox.child_pid("authoriser"), signal.SIGKILL)
        until("it is missed", lambda: caller.http.get("/readyz").json()["signer"] == "ungranted")
        refused = caller.send("POST", path, HASH, action=token)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SIGNER_UNAVAILABLE")
        away.rename(key_file)
        until("it is back", lambda: caller.http.get("/readyz").status_code == 200)
        assert caller.send("POST", path, HASH, action=token).json()["status"] == "Signed"
    assert json.loads(keystore(sandbox, "status", "--json").output)["authoriser"]["state"] == "up"
