"""Callers that keep a server busy while it is being killed, and write down what they were told.

Every change is one ceremony. Its one-time token is sent again until the answer leaves no doubt: ``200`` is done now,
``USER_ACTION_REUSED`` after a broken connection was done before. So at the end there is one right state.
"""

from __future__ import annotations

import base64
import json
import random
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.clients.connection import Connection
from tests.faults.waiting import PATIENCE_S
from tests.support.caller import Caller
from tests.support.server import Sandbox

KINDS = (("ECDSA", "secp256k1"), ("EdDSA", "ed25519"))


def action_id(token: str) -> str:
    """The id that a one-time token gives its audit entry."""
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    identifier: str = claims["jti"]
    return identifier


class Town:
    """The server as callers know it: where it is now, and how much it has done for them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._changed = threading.Condition()
        self._generation = 1
        self._done = 0
        self.closing = False
        self.faults: list[BaseException] = []

    def connect(self, known: int) -> tuple[int, Connection]:
        """The way to a server that was started after the ``known`` one."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._generation > known or self.closing, 2 * PATIENCE_S):
                raise AssertionError("the connection broke, and nobody killed the server")
            return self._generation, self._sandbox.service

    def restarted(self) -> None:
        """Say that there is a new server."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def acknowledged(self) -> None:
        """Count a change that a caller was told about."""
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def fault(self, error: BaseException) -> None:
        """A caller gives up: the test has failed."""
        with self._changed:
            self.faults.append(error)
            self._changed.notify_all()

    def wait_for_more(self, number: int) -> None:
        """Return after so many more acknowledged changes."""
        with self._changed:
            goal = self._done + number
            in_time = self._changed.wait_for(lambda: self._done >= goal or bool(self.faults), 2 * PATIENCE_S)
        if self.faults:
            raise self.faults[0]
        assert in_time, "the callers get nothing done any more"

    def close(self) -> None:
        """Let the callers finish what they are at."""
        with self._changed:
            self.closing = True
            self._changed.notify_all()


@dataclass
class Told:
    """What one caller knows to be so. Actions whose answer was lost are known by their audit entry only."""

    actions: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    signatures: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    promised: list[tuple[str, str]] = field(default_factory=list)
    active: bool = True
    refused_unspent: int = 0


class BusyCaller(threading.Thread):
    """One caller with keys and a service account of its own."""

    def __init__(self, town: Town, number: int, account_id: str, chance: random.Random) -> None:
        super().__init__(name=f"caller-{number}")
        self.told = Told()
        self.account_id = account_id
        self._town = town
        self._chance = chance
        self._generation = 0
        self._counter = 0
        self._caller: Caller | None = None

    def run(self) -> None:
        try:
            while not self._town.closing:
                self._change_something()
        except BaseException as error:
            self._town.fault(error)
        finally:
            if self._caller is not None:
                self._caller.close()

    def _change_something(self) -> None:
        keys = list(self.told.names)
        what = self._chance.choices(("key", "name", "account", "signature"), (1, 3, 2, 6))[0]
        if not keys or what == "key":
            self._create_key()
        elif what == "name":
            self._rename(self._chance.choice(keys))
        elif what == "account":
            self._toggle_account()
        else:
            self._sign(self._chance.choice(keys))

    def _create_key(self) -> None:
        scheme, curve = self._chance.choice(KINDS)
        name = self._next("made")
        made = self._perform("POST", "/keys", {"scheme": scheme, "curve": curve, "name": name})
        if made is not None:
            self.told.names[made["id"]] = name

    def _rename(self, key_id: str) -> None:
        name = self._next("renamed")
        self._perform("PUT", f"/keys/{key_id}", {"name": name})
        self.told.names[key_id] = name

    def _toggle_account(self) -> None:
        wanted = not self.told.active
        verb = "activate" if wanted else "deactivate"
        self._perform("PUT", f"/auth/service-accounts/{self.account_id}/{verb}", {})
        self.told.active = wanted

    def _sign(self, key_id: str) -> None:
        body = {"kind": "Hash", "hash": f"0x{self._chance.randbytes(32).hex()}"}
        signed = self._perform("POST", f"/keys/{key_id}/signatures", body)
        if signed is not None and "signatureId" in signed:
            self.told.promised.append((key_id, signed["signatureId"]))
        elif signed is not None:
            assert signed["status"] == "Signed", signed
            self.told.signatures[key_id, signed["id"]] = signed["signature"]

    def _next(self, what: str) -> str:
        self._counter += 1
        return f"{what} {self._counter} by {self.name}"

    def _perform(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Do it, whatever happens to the server; ``None`` when it is done but the answer was lost."""
        token = self._steadily(lambda caller: caller.action_token(method, path, body))
        in_doubt = False
        while True:
            try:
                answer = self._connected().send(method, path, body, action=token)
            except httpx.TransportError:
                in_doubt = True
                self._reconnect()
                continue
            given = answer.json()
            if answer.status_code == 200:
                return self._acknowledged(token, given)
            error = given["error"]
            if error["code"] == "SIGNER_UNAVAILABLE" and "signatureId" in error["details"]:
                return self._acknowledged(token, error["details"])
            if error["code"] == "SIGNER_UNAVAILABLE":
                # Not spent: the same token does it later. Reads go on meanwhile.
                self.told.refused_unspent += 1
                self._steadily(lambda caller: caller.send("GET", "/keys")).raise_for_status()
                continue
            if error["code"] == "USER_ACTION_REUSED" and in_doubt:
                return self._acknowledged(token, None)
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")

    def _acknowledged(self, token: str, given: dict[str, Any] | None) -> dict[str, Any] | None:
        self.told.actions.append(action_id(token))
        self._town.acknowledged()
        return given

    def _steadily(self, ask: Any) -> Any:
        """Ask for something that changes nothing, again after a broken connection."""
        while True:
            try:
                return ask(self._connected())
            except httpx.TransportError:
                self._reconnect()

    def _connected(self) -> Caller:
        if self._caller is None:
            self._generation, connection = self._town.connect(self._generation)
            self._caller = Caller(connection)
        return self._caller

    def _reconnect(self) -> None:
        if self._caller is not None:
            self._caller.close()
        self._caller = None
