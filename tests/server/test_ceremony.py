"""The way of a signed request, step by step, against a real server."""

from __future__ import annotations

from tests.support.caller import Caller
from tests.support.server import Sandbox


def test_an_action_token_is_accepted_once(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "a"})
        assert caller.send("PUT", f"/keys/{key}", {"name": "a"}, action=token).status_code == 200
        again = caller.send("PUT", f"/keys/{key}", {"name": "a"}, action=token)
        assert (again.status_code, again.json()["error"]["code"]) == (400, "USER_ACTION_REUSED")
