"""What the server tells about itself to whoever asks."""

from __future__ import annotations

import httpx

from tests.support.answers import refusal
from tests.support.server import Sandbox
from tests.support.tenants import beside


def test_browsers_learn_the_origins_of_other_hosts_from_the_host_of_the_relying_party(shared_sandbox: Sandbox) -> None:
    org_id, base = shared_sandbox.values["orgId"], shared_sandbox.values["baseUrl"]
    tenants = beside(shared_sandbox.directory, shared_sandbox.database, base)
    for origin in (
        "https://custody.example",
        "https://a.custody.example",
        "https://else.example",
        "http://localhost:1",
    ):
        tenants.execute(
            "INSERT INTO origins (org_id, app_id, rp_id, origin, created_at) VALUES (?, '', 'custody.example', ?, 0)",
            org_id,
            origin,
        )

    def ask(host: str) -> httpx.Response:
        return httpx.get(f"{base}/.well-known/webauthn", headers={"host": host})

    for host in ("custody.example", "Custody.Example:8443"):
        answer = ask(host)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {"origins": ["https://else.example"]}
    for host in ("else.example", "a.custody.example", ""):
        assert refusal(ask(host)) == (404, "NOT_FOUND")
