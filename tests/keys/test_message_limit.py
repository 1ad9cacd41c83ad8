"""The longest message is one that the signer takes; a longer one is refused before anything is spent."""

from __future__ import annotations

from tests.support.caller import Caller
from tests.support.server import Sandbox

LONGEST = 255 * 1024


def test_the_longest_message_is_signed_and_a_longer_one_refused_unspent(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        path = f"/keys/{caller.create_key()}/signatures"
        signed = caller.signed("POST", path, {"kind": "Message", "message": "0x" + "ab" * LONGEST})
        assert (signed.status_code, signed.json()["status"]) == (200, "Signed")
        body = {"kind": "Message", "message": "0x" + "ab" * (LONGEST + 1)}
        token = caller.action_token("POST", path, body)
        codes = [caller.send("POST", path, body, action=token).json()["error"]["code"] for _ in range(2)]
        assert codes == ["VALIDATION", "VALIDATION"]
