"""What headers are demanded, by the server and by applications, and whose host a signature counts for."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.access.admission import Admission
from countersign.access.api_signature import SignedRequest, signing_payload
from countersign.access.applications import Application, Applications, Demands
from countersign.api import ApiError, Caller, Epochs
from countersign.credentials import public_key
from countersign.encoding import base64url
from countersign.encoding.dates import to_iso
from countersign.storage import Database
from countersign.world import World

NOW = 1_790_000_000_000
APP = "ap-00000-00000-0000000000000001"
OTHER = "ap-00000-00000-0000000000000002"
HOST = "api.example.org"
_NUMBER = itertools.count(1)
CALLER = Caller(
    org_id="or-1",
    user_id="us-1",
    username="ada",
    user_kind="CustomerEmployee",
    is_service_account=False,
    token_id="uj-1",
    token_kind="Token",
    app_id=None,
    epochs=Epochs(0, 0, 0),
    permission_revision=0,
    operations=None,
    expires_at=NOW * 2,
)


class Known:
    """Applications as a test has them; every secret but "wrong" is good."""

    def __init__(self, *applications: Application) -> None:
        self._by_id = {application.app_id: application for application in applications}

    async def find(self, app_id: str, *, fresh: bool = False) -> Application | None:
        return self._by_id.get(app_id)

    async def secret_refusal(self, text: str, application: Application) -> str | None:
        return "wrong" if text == "wrong" else None


class Memory:
    """A database that takes every nonce."""

    async def write(self, make: Any) -> bool:
        return True


def application(app_id: str = APP, **members: Any) -> Application:
    plain = Application("or-1", app_id, True, 0, 0, None, Demands(), None, ())
    return replace(plain, **members)


def admission(
    *known: Application,
    demands: Demands | None = None,
    hosts: frozenset[str] = frozenset({HOST}),
    any_host: bool = False,
) -> Admission:
    return Admission(
        cast("Applications", Known(*known)),
        cast("Database", Memory()),
        World(clock=lambda: NOW),
        demands or Demands(),
        nonce_length=12,
        hosts=hosts,
        scheme="https",
        any_host=any_host,
    )


def nonce() -> str:
    return base64url.encode(json.dumps({"uuid": f"0123456789-{next(_NUMBER)}-padding", "date": to_iso(NOW)}).encode())


def request(**headers: str) -> SignedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SignedRequest("GET", "/keys", {"host": HOST, **named}, b"")


async def refusal(gate: Admission, sent: SignedRequest, caller: Caller = CALLER) -> str:
    """The code of the refusal, ``""`` for none."""
    try:
        await gate.admit(await gate.present(sent), caller)
    except ApiError as error:
        return error.code
    return ""


async def test_nothing_is_demanded_by_default() -> None:
    assert await admission().present(request()) is None


@pytest.mark.parametrize(
    ("demands", "sent", "code"),
    [
        (Demands(application_id=True), {}, "APPLICATION_REFUSED"),
        (Demands(application_id=True), {"x_dfns_appid": OTHER}, "APPLICATION_REFUSED"),
        (Demands(application_id=True), {"x_dfns_appid": "x"}, "APPLICATION_REFUSED"),
        (Demands(application_id=True), {"x_dfns_appid": APP}, ""),
        (Demands(nonce=True), {}, "NONCE_INVALID"),
        (Demands(nonce=True), {"x_dfns_appid": APP}, "NONCE_INVALID"),
        (Demands(nonce=True), {"x_dfns_nonce": "x"}, "NONCE_INVALID"),
        (Demands(nonce=True), {"x_dfns_nonce": nonce()}, ""),
        (Demands(api_signature=True), {"x_dfns_nonce": nonce()}, "APPLICATION_REFUSED"),
        (Demands(api_signature=True), {"x_dfns_appid": APP, "x_dfns_nonce": nonce()}, "APPLICATION_REFUSED"),
    ],
)
async def test_what_the_server_demands_must_come(demands: Demands, sent: dict[str, str], code: str) -> None:
    assert await refusal(admission(application(), demands=demands), request(**sent)) == code


async def test_the_caller_acts_through_the_application_that_is_named() -> None:
    gate = admission(application())
    admitted = await gate.admit(await gate.present(request(x_dfns_appid=APP)), CALLER)
    assert admitted == replace(CALLER, app_id=APP)


async def test_an_application_of_another_organisation_is_refused() -> None:
    foreign = application(org_id="or-2")
    assert await refusal(admission(foreign), request(x_dfns_appid=APP)) == "APPLICATION_REFUSED"


@pytest.mark.parametrize(
    ("demands", "named", "code"),
    [
        (Demands(), {}, ""),
        (Demands(application_id=True), {}, "APPLICATION_REFUSED"),
        (Demands(application_id=True), {"x_dfns_appid": OTHER}, "APPLICATION_REFUSED"),
        (Demands(application_id=True), {"x_dfns_appid": APP}, ""),
        (Demands(nonce=True), {}, "NONCE_INVALID"),
        (Demands(nonce=True), {"x_dfns_appid": APP}, "NONCE_INVALID"),
        (Demands(api_signature=True), {}, "APPLICATION_REFUSED"),
    ],
)
async def test_what_the_application_of_a_token_demands_is_not_escaped_by_leaving_it_out(
    demands: Demands, named: dict[str, str], code: str
) -> None:
    gate = admission(application(demands=demands), application(OTHER))
    assert await refusal(gate, request(**named), replace(CALLER, app_id=APP)) == code


def signed(host: str = HOST, **more: str) -> tuple[Application, SignedRequest]:
    """A server-signed application, and a request that it signed for ``host``."""
    private = Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    key = public_key.load(pem)
    assert isinstance(key, public_key.PublicKey)
    plain = request(host=host, x_dfns_appid=APP, x_dfns_appsecret="secret", x_dfns_nonce=nonce(), **more)
    parts = [{"alg": "EdDSA", "typ": "JWT"}, signing_payload(plain, "https")]
    text = ".".join(base64url.encode(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    headers = {**plain.headers, "x-dfns-apisignature": base64url.encode(private.sign(text.encode()))}
    return application(key=key, demands=Demands(api_signature=True)), replace(plain, headers=headers)


async def test_threat_44_a_signature_counts_for_the_hosts_of_the_settings_alone() -> None:
    app, good = signed()
    assert await refusal(admission(app), good) == ""
    app, elsewhere = signed("evil.example")
    assert await refusal(admission(app), elsewhere) == "APPLICATION_REFUSED"
    app, forwarded = signed("evil.example", x_forwarded_host=HOST, forwarded=f"host={HOST}")
    assert await refusal(admission(app), forwarded) == "APPLICATION_REFUSED"
    app, good = signed()
    assert await refusal(admission(app, hosts=frozenset()), good) == "APPLICATION_REFUSED"
    assert await refusal(admission(app, hosts=frozenset(), any_host=True), good) == ""


async def test_the_secret_is_looked_at_again_with_the_application() -> None:
    app, good = signed()
    presented = await admission(app).present(good)
    assert presented is not None
    assert await admission(app).look_again(presented) == presented
    for gone in (admission(), admission(replace(app, is_active=False))):
        with pytest.raises(ApiError, match="APPLICATION_REFUSED"):
            await gone.look_again(presented)
    with pytest.raises(ApiError, match="APPLICATION_REFUSED"):
        await admission(app).look_again(replace(presented, secret="wrong"))


async def test_no_secret_is_shown_in_what_was_presented() -> None:
    app, good = signed()
    assert "secret" not in repr(await admission(app).present(good)).replace("secrets=", "")
