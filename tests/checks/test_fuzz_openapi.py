"""Requests generated from our own OpenAPI document, good and bad ones: no answer is a fault of the server.

Each generated request goes as far as it can: with a good token, and where the operation is signed with a good user
action over exactly what was generated. Half of them name objects that exist.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from countersign.server.documents import APART
from countersign.server.table import operations
from tests.checks.requests_of_operations import Stock, new_account
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.support.tenants import Tenants

#: Of so many generated requests PostgreSQL gets one: the engines share all code but the drivers.
_SHARE = {"sqlite": 1, "postgresql": 2}
#: Some generated request has to succeed here, so there are more of them.
_ALL_THE_WAY = {"updateKey", "generateSignature", "listKeys", "getSignature"}


@dataclass(frozen=True, slots=True)
class Scene:
    """Who calls, the document, and ids that exist, by parameter name."""

    caller: Caller
    schema: Any
    existing: dict[str, str]
    requests: int
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def scene(shared_sandbox: Sandbox, shared_tenants: Tenants, requests_per_operation: int) -> Iterator[Scene]:
    identity = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    shared_tenants.introduce(identity)
    document = httpx.get(f"{shared_sandbox.values['baseUrl']}/openapi.json").json()
    with Caller(identity.connection) as caller:
        stock = Stock(caller, shared_tenants)
        key, signature = stock.signature()
        existing = {
            "keyId": key,
            "signatureId": signature,
            "serviceAccountId": stock.account(),
            "userId": stock.user(),
            "tokenId": caller.signed("POST", "/auth/pats", new_account()).json()["tokenId"],
            "appId": stock.application(),
            "id": stock.log(),
        }
        engine = "sqlite" if shared_sandbox.database is None else "postgresql"
        requests = requests_per_operation // _SHARE[engine]
        yield Scene(caller, schemathesis.openapi.from_dict(document), existing, requests)


def sent(scene: Scene, case: Any, *, signed: bool, existing: bool) -> httpx.Response:
    """Send one generated request, as far along the way as it can go."""
    parameters = {**(case.path_parameters or {}), **(scene.existing if existing else {})}
    path = case.path
    for name, value in parameters.items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    if case.query:
        path += "?" + urlencode(case.query, doseq=True)
    body = None if isinstance(case.body, schemathesis.core.NotSet) else case.body
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    action = None
    if signed:
        payload = content.decode("utf-8", "replace")
        members = {"userActionPayload": payload, "userActionHttpMethod": case.method, "userActionHttpPath": path}
        challenge = scene.caller.send("POST", "/auth/action/init", members)
        assert challenge.status_code < 500, challenge.text
        if challenge.status_code == 200:
            action = scene.caller.answer(challenge.json()).json()["userAction"]
    return scene.caller.send(case.method, path, action=action, content=content)


#: Ends the caller's own session or credential: everything after it would be 401.
_LEFT_OUT = {
    *("deactivateCredential", "deleteCredential", "endSession", "exchangeAccessToken", "logout", "logoutByPost"),
}


@pytest.mark.parametrize("operation", [o for o in operations() if o.id not in _LEFT_OUT], ids=lambda o: o.id)
def test_no_generated_request_is_a_fault_of_the_server(scene: Scene, operation: Any) -> None:
    if operation.path.startswith(APART):
        return  # not in the document: no client calls them
    described = scene.schema[operation.path][operation.method]
    takes_nothing = "{" not in operation.path and operation.body is None and operation.query is None
    for mode in [GenerationMode.POSITIVE] if takes_nothing else [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]:

        @settings(
            max_examples=scene.requests * (5 if operation.id in _ALL_THE_WAY else 1),
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=described.as_strategy(generation_mode=mode), existing=st.booleans())
        def run(case: Any, existing: bool) -> None:
            # What exists stays: a DELETE is tried on ids that do not.
            named = existing and operation.method != "DELETE"
            answer = sent(scene, case, signed=operation.signed, existing=named)
            scene.answers[operation.id, answer.status_code] += 1
            assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"

        run()


def test_the_generated_requests_went_all_the_way(scene: Scene) -> None:
    """Runs last: had one of them ended the session, or none been signed well, the rest would have shown nothing."""
    assert scene.caller.send("GET", "/keys").status_code == 200
    done = {name for name, status in scene.answers if status == 200}
    assert done >= _ALL_THE_WAY
