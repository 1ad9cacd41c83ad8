"""What the console hashes before it has something signed: the very digest of the server, or a refusal."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from countersign.consent.challenge import ActionChallenge
from countersign.consent.digest import action_digest, payload_hash
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, canonical, parse_payload
from countersign.encoding.target import BadPath, canonical_path, canonical_query, parse_signed_path
from tests.clients.sdk_node import PATIENCE
from tests.console.built import require_build_tools
from tests.support.vectors import auth_vectors

NOW = 1_790_000_000
WHO = {
    "installationId": "in-8a2lc-0a1c2-8c3e4g5j6k7m8n9p",
    "orgId": "or-6k2mt-9c4vd-8a1n3q5r7t9u1w3y",
    "userId": "us-3f8ha-2p7kd-9b2m4p6r8t0v2x4z",
}
#: What the published vectors do not have: the corners of both readers.
PAYLOADS = [
    '{"a":1e3,"b":1.50,"c":-0,"d":-0.0,"e":0.000001,"f":12345678901234567890.10,"g":1E-2,"h":10e-1,"i":0e5}',
    '{"\U00010000":1,"\ue000":2,"é":3,"a":4,"":5}',
    '{"a":"\\u0041\\n\\/\\"\\\\\\ud83d\\ude00\\u007f"}',
    '{"a":{"b":[[],{},[1,[2]],null,true,false]}}',
    ' \t\r\n{ "a" : [ 1 , 2 ] } \n',
    '{"__proto__":1,"constructor":{"a":2}}',
    '{"a":' + "9" * 64 + "}",
    '{"a":1e64,"b":1e-64}',
    "{}",
    # Refused by both.
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":"\\ud83d"}',
    '{"a":01}',
    '{"a":.5}',
    '{"a":1.}',
    '{"a":+1}',
    '{"a":NaN}',
    '{"a":1e65}',
    '{"a":' + "9" * 65 + "}",
    '{"a":"\t"}',
    "{\"a\":'b'}",
    '{"a":1,}',
    "[1]",
    '"a"',
    "{} {}",
    "\ufeff{}",
    '{"a":"b}',
    '{"a":\\u0031}',
    '{"a":' * 64 + "1" + "}" * 64,
    '{"a":' * 65 + "1" + "}" * 65,
    "{\u00a0}",
]
PATHS = [
    "/",
    "/keys/key%2D1",
    "/keys/ü!'()*~",
    "/keys/%F0%9F%98%80?limit=1&a=%20",
    "/keys?",
    # Refused by both.
    "",
    "keys",
    "//keys",
    "/keys/",
    "/a//b",
    "/a/../b",
    "/a/%2e%2e/b",
    "/a%2fb",
    "/a%5cb",
    "/a\\b",
    "/a%25b",
    "/a%00",
    "/a%zz",
    "/a%c0%af",
    "/a#b",
    "/a\nb",
    "/a?b c",
    "/a?é",
    "https://a/b",
]


def of_console(cases: list[dict[str, Any]]) -> list[dict[str, str]]:
    node = require_build_tools()
    program = Path(__file__).with_name("commitment.mjs")
    done = subprocess.run(
        [node, str(program)], input=json.dumps(cases), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    answers: list[dict[str, str]] = json.loads(done.stdout)
    return answers


def of_server(who: dict[str, str], action: dict[str, str]) -> dict[str, str] | None:
    """The same from the server's own functions; ``None`` for what it refuses."""
    try:
        target = parse_signed_path(action["path"])
        payload = parse_payload(action["payload"])
    except (BadPath, BadJson):
        return None
    path, query = canonical_path(target.segments), canonical_query(target)
    digest = action_digest(
        who["installationId"], who["orgId"], who["userId"], action["method"], path, query, payload_hash(payload)
    )
    return {"digest": digest, "path": path, "query": query, "payload": canonical(payload).decode()}


def test_console_and_server_make_the_same_of_every_request() -> None:
    vectors = auth_vectors()
    actions = [{"method": "POST", "path": "/keys", "payload": payload} for payload in PAYLOADS]
    actions += [{"method": "PUT", "path": path, "payload": ""} for path in PATHS]
    actions += [
        {"method": "POST", "path": "/keys", "payload": case["userActionPayload"]} for case in vectors["body_comparison"]
    ]
    actions += [
        {"method": "POST", "path": case["userActionHttpPath"], "payload": ""} for case in vectors["path_comparison"]
    ]
    cases: list[dict[str, Any]] = [{"who": WHO, "action": action} for action in actions]
    published = vectors["action_digest"]["cases"]
    for case in published:
        cases.append(
            {
                "who": {name: case[name] for name in WHO},
                "action": {name: case[name] for name in ("method", "path", "payload")},
            }
        )
    answers = of_console(cases)
    refused = 0
    for case, answer in zip(cases, answers, strict=True):
        expected = of_server(case["who"], case["action"])
        if expected is None:
            refused += 1
            assert "refused" in answer, case
        else:
            assert answer == expected, case
    assert refused > 30
    assert [answer["digest"] for answer in answers[-len(published) :]] == [case["digest_b64url"] for case in published]


def challenge(**members: Any) -> str:
    made = {"id": "ch-8a2lc-2e6gf-8m8o0q2s4u6w8y0a", "nonce": "no-8a2lc-2e6gf-8n9p1r3t5v7x9z1b", "exp": NOW + 900}
    return base64url.encode(json.dumps({**made, **members}).encode())


@pytest.mark.parametrize(
    ("challenge", "why"),
    [
        (challenge(action="A" * 43), "another request"),
        (challenge(), "not that of an action"),
        ("%%%", "cannot be read"),
        (base64url.encode(b"[]"), "not that of an action"),
    ],
)
def test_console_signs_no_challenge_for_something_else(challenge: str, why: str) -> None:
    action = {"method": "POST", "path": "/keys", "payload": "{}"}
    (answer,) = of_console([{"who": WHO, "action": action, "challenge": challenge, "now": NOW * 1000}])
    assert why in answer["refused"]


def test_console_signs_the_servers_challenge_and_none_that_counts_for_ever() -> None:
    action = {"method": "POST", "path": "/keys", "payload": "{}"}
    known = of_server(WHO, action)
    assert known is not None
    ids = ("ch-8a2lc-2e6gf-8m8o0q2s4u6w8y0a", "no-8a2lc-2e6gf-8n9p1r3t5v7x9z1b")
    texts = [ActionChallenge(*ids, NOW + life, known["digest"]).text for life in (900, 86_400)]
    cases = [{"who": WHO, "action": action, "challenge": text, "now": NOW * 1000} for text in texts]
    good, eternal = of_console(cases)
    assert good["digest"] == known["digest"]
    assert "too long" in eternal["refused"]
