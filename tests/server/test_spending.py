"""What uses an action up, and what does not."""

from __future__ import annotations

import pytest

from tests.support.caller import Caller
from tests.support.server import Sandbox

MISSING = "/keys/key-00000-00000-0000000000000000"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", MISSING, {"name": "a"}),
        ("POST", MISSING + "/signatures", {"kind": "Hash", "hash": "00" * 32}),
        ("POST", "/keys", {"scheme": "DH", "curve": "ed25519"}),
    ],
)
def test_a_refusing_operation_uses_the_action_up(
    shared_sandbox: Sandbox, method: str, path: str, body: dict[str, str]
) -> None:
    with Caller(shared_sandbox.service) as caller:
        token = caller.action_token(method, path, body)
        first = caller.send(method, path, body, action=token)
        assert first.status_code in (400, 404)
        again = caller.send(method, path, body, action=token)
        assert again.json()["error"]["code"] == "USER_ACTION_REUSED"


def test_what_the_schema_refuses_does_not_use_the_action_up(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        body = {"scheme": "EdDSA", "curve": "ed25519", "surprise": True}
        token = caller.action_token("POST", "/keys", body)
        codes = [caller.send("POST", "/keys", body, action=token).json()["error"]["code"] for _ in range(2)]
        assert codes == ["VALIDATION", "VALIDATION"]
