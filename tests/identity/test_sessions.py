"""One's own sessions: seen by their owner alone, ended one by one."""

from __future__ import annotations

from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants


def test_a_person_sees_and_ends_own_sessions_and_nobody_elses(
    caller: Caller, person: Identity, shared_tenants: Tenants
) -> None:
    second = shared_tenants.another_session(person)
    stranger = shared_tenants.session(person.org_id, everything=True)
    shown = caller.send("GET", "/auth/sessions").json()["items"]
    assert len(shown) == 2
    (other,) = [each for each in shown if not each["isCurrent"]]
    with Caller(stranger.connection) as nobody, Caller(second.connection) as elsewhere:
        assert len(nobody.send("GET", "/auth/sessions").json()["items"]) == 1
        assert refusal(nobody.send("DELETE", f"/auth/sessions/{other['sessionId']}")) == (404, "NOT_FOUND")
        assert elsewhere.send("GET", "/auth/credentials").status_code == 200
        assert caller.send("DELETE", f"/auth/sessions/{other['sessionId']}").json() == {}
        ended = shared_tenants.execute("SELECT state FROM tokens WHERE token_id = ?", other["sessionId"])
        assert [tuple(row) for row in ended] == [("Archived",)]
    assert [each["isCurrent"] for each in caller.send("GET", "/auth/sessions").json()["items"]] == [True]
    assert refusal(caller.send("DELETE", f"/auth/sessions/{other['sessionId']}")) == (404, "NOT_FOUND")


def test_programs_have_no_sessions_to_see(shared_sandbox: Sandbox, person: Identity, shared_tenants: Tenants) -> None:
    token = shared_tenants.personal_access_token(person)
    for connection in (shared_sandbox.service, token.connection):
        with Caller(connection) as program:
            assert refusal(program.send("GET", "/auth/sessions")) == (403, "CALLER_KIND_REFUSED")
            assert refusal(program.send("DELETE", "/auth/sessions/uj-1")) == (403, "CALLER_KIND_REFUSED")
