"""A5: a challenge belongs to whoever asked for it, for a while, and is spent once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from countersign.encoding import base64url
from tests.support.answers import refusal
from tests.support.caller import Caller, compact
from tests.support.inprocess import InProcess
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants

PATH = "/keys/key-00000-00000-0000000000000000"
BODY = {"name": "a"}


CHALLENGE_INVALID = (400, "CHALLENGE_INVALID")
ACTION_INVALID = (403, "USER_ACTION_INVALID")
NOT_FOUND = (404, "NOT_FOUND")  # how far a request with a good action comes: the key does not exist

KINDS = (
    "session",
    "same person's other session",
    "token of that person",
    "other person",
    "service account",
    "other organisation",
)


@pytest.fixture(scope="module")
def identities(shared_tenants: Tenants, shared_sandbox: Sandbox) -> dict[str, Identity]:
    """One caller of each kind, each with every right."""
    org_id = shared_sandbox.values["orgId"]
    session = shared_tenants.session(org_id, everything=True)
    made = (
        session,
        shared_tenants.another_session(session),
        shared_tenants.personal_access_token(session),
        shared_tenants.session(org_id, everything=True),
        shared_tenants.service_account(org_id, everything=True),
        shared_tenants.organisation(),
    )
    return dict(zip(KINDS, made, strict=True))


SESSIONS = frozenset({"session", "same person's other session"})


@pytest.mark.parametrize(("asked", "answered"), list(itertools.product(KINDS, KINDS)))
def test_a5_a_challenge_is_answered_only_by_who_asked_for_it(
    identities: dict[str, Identity], asked: str, answered: str
) -> None:
    """A person's sessions are one caller; a token that acts alone is another, also with the owner's session."""
    with Caller(identities[asked].connection) as first, Caller(identities[answered].connection) as second:
        challenge = first.challenge("PUT", PATH, BODY)
        answer = second.answer(challenge)
        if asked == answered or {asked, answered} == SESSIONS:
            assert answer.status_code == 200
            return
        assert refusal(answer) == CHALLENGE_INVALID
        # Nor with the signature of the one it was made for.
        answer = second.answer(challenge, firstFactor=first.assertion(challenge["challenge"]))
        assert refusal(answer) == CHALLENGE_INVALID


@pytest.mark.parametrize(("signed", "used"), list(itertools.product(KINDS, KINDS)))
def test_a3_an_action_is_used_only_by_who_signed_it(identities: dict[str, Identity], signed: str, used: str) -> None:
    with Caller(identities[signed].connection) as first, Caller(identities[used].connection) as second:
        answer = second.send("PUT", PATH, BODY, action=first.action_token("PUT", PATH, BODY))
        good = signed == used or {signed, used} == SESSIONS
        assert refusal(answer) == (NOT_FOUND if good else ACTION_INVALID)


@pytest.mark.parametrize(
    ("caller", "key_of"),
    [pair for pair in itertools.permutations(KINDS, 2) if set(pair) != SESSIONS],
)
def test_a5_only_the_callers_own_credentials_sign(identities: dict[str, Identity], caller: str, key_of: str) -> None:
    with Caller(identities[caller].connection) as asking, Caller(identities[key_of].connection) as signing:
        challenge = asking.challenge("PUT", PATH, BODY)
        listed = [item["id"] for item in challenge["allowCredentials"]["key"]]
        assert asking.credential_id in listed
        assert signing.credential_id not in listed
        factor = signing.assertion(challenge["challenge"])
        assert refusal(asking.answer(challenge, firstFactor=factor)) == (401, "NO_CREDENTIAL")
        # The foreign key under the own credential's name.
        factor = signing.assertion(challenge["challenge"], credential_id=asking.credential_id)
        assert refusal(asking.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")


def test_a5_a_challenge_expires_and_so_does_an_action(in_process: InProcess) -> None:
    with in_process.caller(in_process.service) as caller, in_process.clock.stopped():
        challenge = caller.challenge("PUT", PATH, BODY)
        other = caller.challenge("PUT", PATH, BODY)
        in_process.clock.move(seconds=899)
        late = caller.answer(other).json()["userAction"]
        in_process.clock.move(seconds=1)
        assert refusal(caller.answer(challenge)) == CHALLENGE_INVALID
        in_process.clock.move(seconds=299)
        assert refusal(caller.send("PUT", PATH, BODY, action=late)) == ACTION_INVALID
        in_process.clock.move(seconds=-2)
        assert refusal(caller.send("PUT", PATH, BODY, action=late)) == NOT_FOUND


def test_a5_a_challenge_answered_twice_is_spent_once(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key()
        challenge = caller.challenge("PUT", f"/keys/{key}", BODY)
        first, second = (caller.answer(challenge).json()["userAction"] for _ in range(2))
        assert caller.send("PUT", f"/keys/{key}", BODY, action=second).status_code == 200
        for token in (first, second, caller.answer(challenge).json()["userAction"]):
            assert refusal(caller.send("PUT", f"/keys/{key}", BODY, action=token)) == (400, "USER_ACTION_REUSED")


def wrong_answers(caller: Caller, challenge: dict[str, Any]) -> list[dict[str, Any]]:
    """Assertions that do not hold, each for another reason."""
    good = caller.assertion(challenge["challenge"])["credentialAssertion"]
    signature = bytearray(base64url.decode(good["signature"]))
    signature[0] ^= 1
    other = caller.assertion(caller.challenge("PUT", PATH, BODY)["challenge"])["credentialAssertion"]
    client_data = compact({"type": "webauthn.get", "challenge": challenge["challenge"]}).encode()
    changes: list[dict[str, Any]] = [
        {"signature": base64url.encode(bytes(signature))},
        {"signature": base64url.encode(bytes(64))},
        other,
        {"clientData": base64url.encode(client_data), "signature": base64url.encode(caller.key.sign(client_data))},
        {"algorithm": "RSA-SHA256"},
    ]
    return [{"kind": "Key", "credentialAssertion": {**good, **change}} for change in changes]


def test_a5_after_five_wrong_answers_the_right_one_comes_too_late(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        challenge = caller.challenge("PUT", PATH, BODY)
        for factor in wrong_answers(caller, challenge)[:4]:
            assert refusal(caller.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")
        assert caller.answer(challenge).status_code == 200
        factor = wrong_answers(caller, challenge)[4]
        assert refusal(caller.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")
        assert refusal(caller.answer(challenge)) == CHALLENGE_INVALID
        # Another challenge of the same caller is not affected.
        assert caller.answer(caller.challenge("PUT", PATH, BODY)).status_code == 200


def test_a14_a_wrong_answer_is_told_and_nothing_is_granted(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        challenge = caller.challenge("PUT", PATH, BODY)
        good = caller.assertion(challenge["challenge"])
        for factor in wrong_answers(caller, challenge):
            # A good first factor does not make up for a second one that is wrong, missing its credential or the same.
            answers = (
                caller.answer(caller.challenge("PUT", PATH, BODY), firstFactor=factor),
                caller.answer(challenge, secondFactor=factor),
                caller.answer(challenge, secondFactor=good),
            )
            for answer in answers:
                assert answer.status_code in (400, 401)
                assert set(answer.json()) == {"error", "message"}
                assert "eyJ" not in answer.text
