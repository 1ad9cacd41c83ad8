"""Mutated requests through the whole server: no 5xx, and nothing happens that nobody entitled has asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fuzz.requests import (
    Answer,
    Application,
    Begin,
    Enrol,
    EnrolPasskey,
    Flow,
    Fresh,
    Read,
    Spend,
    Wire,
    send,
    text_of,
)
from tests.fuzz.subjects import Breach, Tally, split
from tests.identity.conftest import allow_origin
from tests.support.enrolment import NewKey, NewPasskey, enrolled
from tests.support.inprocess import InProcess
from tests.support.tenants import Tenants, beside

#: Of the flows in their order.
SHARES = (1, 1, 2, 3, 3, 2, 2, 2)


@pytest.fixture
def server(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """In this process, with every check of production on."""
    (tmp_path / "data").mkdir(mode=0o700)
    settings = {"allow_unsigned_query": False, "public_url": "http://api.example.org"}
    # A line for each request would bury what a failure says.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        with InProcess(runner, tmp_path / "data", database_url, **settings) as server:
            yield server
    finally:
        structlog.reset_defaults()


@pytest.fixture
def tenants(server: InProcess, database_url: str) -> Tenants:
    """What writes beside the server."""
    tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
    allow_origin(tenants, server.values["orgId"])
    return tenants


def flows(server: InProcess, tenants: Tenants) -> list[Flow]:
    """One of each kind, all of one person but the last, whose token is bound to an application."""
    org_id = server.values["orgId"]
    person = tenants.session(org_id, everything=True)
    caller = server.caller(person.connection)
    key, passkey = NewKey(), NewPasskey(person.user_id)
    enrolled(caller, key)
    enrolled(caller, passkey, "Fido2")
    bound, signer = tenants.session(org_id, everything=True), Ed25519PrivateKey.generate()
    tenants.introduce(person, bound)
    pem = signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    body = {"kind": "ServerSideApplication", "name": f"of {person.user_id}", "publicKey": pem}
    made = caller.signed("POST", "/auth/apps", body).json()
    app_id, secret = made["appId"], made["accessTokens"][0]["accessToken"]
    tenants.execute("UPDATE tokens SET app_id = ? WHERE token_id = ? RETURNING token_id", app_id, bound.token_id)
    return [
        Read(server, caller),
        Fresh(server, caller),
        Begin(server, caller),
        Spend(server, caller),
        Answer(server, caller, key, passkey),
        Enrol(server, caller),
        EnrolPasskey(server, caller),
        Application(server, server.caller(bound.connection), app_id, secret, signer),
    ]


def attack(flow: Flow, twin: Flow, count: int, tally: Tally) -> None:
    """Send so many mutations of valid requests of this kind; what is swapped in is of ``twin``, another caller's.

    Now and then the valid one is sent, to see that it is one.
    """
    refused = 0
    for number in range(count):
        rng = Random(f"{tally.seed} {flow.name} {number}")
        mutated = flow.wire
        while mutated == flow.wire:
            for _ in range(rng.choice((1, 1, 1, 2))):
                mutated = flow.codec.mutate(rng, mutated, twin.wire)
        status, answer = send(flow.server, mutated)
        what = f"{flow.name}, mutation {number}, seed {tally.seed}: {status} {answer}\n{text_of(mutated)}"
        if status >= 500:
            raise Breach(what)
        tally.add(flow.name, "refused" if status >= 300 else "same")
        if status >= 300:
            refused += 1
        elif is_allowed(flow, mutated):
            flow.renew()
            refused = 0
        elif is_allowed(twin, mutated):
            twin.renew()
        else:
            raise Breach(f"{what}\nmade from\n{text_of(flow.wire)}")
        if refused >= flow.patience or number == count - 1:
            refused = 0
            status, answer = send(flow.server, flow.wire)
            assert status == 200, f"{flow.name}: the valid request is refused: {status} {answer}"
            flow.renew()


def is_allowed(flow: Flow, mutated: Wire) -> bool:
    """Whether the request means what that of the flow means; one that the second reader can't read does not."""
    try:
        return flow.allowed(mutated)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def test_no_mutated_request_is_accepted_or_fails(
    server: InProcess, tenants: Tenants, mutations: int, seed: int
) -> None:
    made, twins = flows(server, tenants), flows(server, tenants)
    tally = Tally(seed, mutations // 20)
    for flow, twin, count in zip(made, twins, split(tally.total, SHARES), strict=True):
        attack(flow, twin, count, tally)
    print(tally.table())
    assert sum(counter.total() for counter in tally.counts.values()) == tally.total
