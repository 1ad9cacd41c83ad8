"""A server that lets only some makers' passkeys in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from countersign.encoding import base64url
from countersign.server.attestation import attestation_policy
from countersign.server.settings import BadSettings
from countersign.server.settings_reading import load
from tests.identity.conftest import allow_origin
from tests.support.attestations import Vendor, packed
from tests.support.authenticator import AT, UP, UV, cbor
from tests.support.caller import Caller
from tests.support.enrolment import NewPasskey, challenge_for, enrol, new_body
from tests.support.inprocess import InProcess
from tests.support.tenants import Identity, beside


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def anchors(tmp_path: Path, vendor: Vendor) -> Path:
    (tmp_path / "anchors" / "packed").mkdir(parents=True)
    (tmp_path / "anchors" / "packed" / "vendor.pem").write_text(vendor.pem)
    return tmp_path / "anchors"


@pytest.fixture
def server(runner: asyncio.Runner, tmp_path: Path, database_url: str, anchors: Path) -> Iterator[InProcess]:
    settings = {"attestation_anchors": str(anchors)}
    with InProcess(runner, tmp_path / "data", database_url, background=False, **settings) as server:
        yield server


@pytest.fixture
def person(server: InProcess, database_url: str) -> Identity:
    tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
    allow_origin(tenants, server.values["orgId"])
    return tenants.session(server.values["orgId"], everything=True)


def submit(caller: Caller, passkey: NewPasskey, vendor: Vendor) -> int:
    challenge = challenge_for(caller, "Fido2")
    assert challenge["attestation"] == "direct"
    client = passkey.client_data("webauthn.create", challenge["challenge"])
    data = passkey.authenticator.data(UP | UV | AT, 0, passkey.authenticator.attested())
    statement = packed(vendor, client, data)
    info = {
        "credId": passkey.credential_id,
        "clientData": base64url.encode(client),
        "attestationData": base64url.encode(cbor({"fmt": "packed", "attStmt": statement, "authData": data})),
    }
    return caller.signed("POST", "/auth/credentials", new_body(challenge, info)).status_code


def test_only_a_listed_makers_passkey_is_enrolled(server: InProcess, person: Identity, vendor: Vendor) -> None:
    with server.caller(person.connection) as caller:
        assert submit(caller, NewPasskey(person.user_id), vendor) == 200
        assert submit(caller, NewPasskey(person.user_id), Vendor()) == 400
        without = enrol(caller, NewPasskey(person.user_id), "Fido2")
        assert without.json()["error"]["code"] == "ATTESTATION_INVALID"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"attestation_models": ("ee882879-721c-4913-9775-3dfcce97072a",)}, "attestation_models"),
        ({"attestation_anchors": "/nowhere/at/all"}, "attestation_anchors"),
        ({"attestation_anchors": "{anchors}", "attestation_models": ("x",)}, "UUID"),
        ({"attestation_anchors": "{odd}"}, "no format"),
        ({"attestation_anchors": "{empty}"}, "names no format"),
    ],
)
def test_a_policy_that_cannot_be_read_stops_the_start(
    tmp_path: Path, anchors: Path, values: dict[str, str], said: str
) -> None:
    (tmp_path / "odd" / "unheard-of").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    places = {"anchors": anchors, "odd": tmp_path / "odd", "empty": tmp_path / "empty"}
    filled = {name: value.format(**places) if isinstance(value, str) else value for name, value in values.items()}
    with pytest.raises(BadSettings, match=said):
        attestation_policy(load(None, {}, filled))


def test_without_anchors_there_is_no_policy() -> None:
    assert attestation_policy(load(None, {}, {})) is None
