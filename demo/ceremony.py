"""What the demo does with the official SDK: an account, keys, signatures, and two tries to cheat."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import httpx
from party import Party, ecdsa_over, ed25519_over, is_valid, new_credential
from transcript import Transcript, check

PAYMENT = b"pay 5 BTC to Alice"
LETTER = b"We, the treasury, agree."


def perform(show: Transcript, connection: dict[str, str], account: str) -> None:
    """Every step of it, as the service account ``account``."""
    robot = hire(show, connection, account)
    with robot.client:
        bitcoin, letters = make_keys(show, robot)
        sign_twice(show, robot, bitcoin, letters)
        try_to_cheat(show, robot, bitcoin)


def hire(show: Transcript, connection: dict[str, str], account: str) -> Party:
    """A service account whose private key is made here and stays here."""
    with show.step("Create a service account, with the official SDK"):
        pem, public_pem = new_credential()
        admin = Party.of(
            connection["baseUrl"],
            connection["adminToken"],
            connection["adminCredentialId"],
            Path(connection["adminPrivateKeyPath"]).read_text(encoding="ascii"),
        )
        with admin.client:
            known = admin.client.auth.get_service_account(connection["userId"])
            rights = known["userInfo"]["permissionAssignments"][0]
            made = admin.client.auth.create_service_account(
                {"name": account, "publicKey": public_pem, "permissionId": rights["permissionId"]}
            )
        access = made["accessTokens"][0]
        show.fact("client", f"dfns-sdk {importlib.metadata.version('dfns-sdk')} from PyPI, unmodified")
        show.fact("account", f"{made['userInfo']['userId']}  with {rights['permissionName']}")
        show.fact("credential", f"{access['credId']}  its private key never left this process")
    return Party.of(connection["baseUrl"], access["accessToken"], access["credId"], pem)


def make_keys(show: Transcript, robot: Party) -> tuple[dict[str, Any], dict[str, Any]]:
    """One key for digests, one for messages."""
    with show.step("The account creates two keys, each call countersigned"):
        bitcoin: Any = robot.client.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1", "name": "Payments"})
        letters: Any = robot.client.keys.create_key({"scheme": "EdDSA", "curve": "ed25519", "name": "Letters"})
        for key in (bitcoin, letters):
            show.fact(f"{key['scheme']}", f"{key['id']}  {short(key['publicKey'])}")
        show.say("Their private halves exist only sealed, and open only inside a process of their own: the signer.")
    return bitcoin, letters


def sign_twice(show: Transcript, robot: Party, bitcoin: dict[str, Any], letters: dict[str, Any]) -> None:
    """Two signatures, each checked by a library that knows nothing of the server."""
    digest = hashlib.sha256(PAYMENT).hexdigest()
    payment = {"kind": "Hash", "hash": f"0x{digest}"}
    letter = {"kind": "Message", "message": f"0x{LETTER.hex()}"}
    for title, key, body, message, over in (
        ("Sign the digest of a payment", bitcoin, payment, PAYMENT, ecdsa_over),
        ("Sign a message", letters, letter, LETTER, ed25519_over),
    ):
        with show.step(title):
            request: Any = robot.client.keys.generate_signature(key["id"], body)
            show.fact("to sign", f'"{message.decode()}"')
            show.fact("request", f"{request['id']}  {request['status']}")
            check(request["status"] == "Signed", f"the request is {request['status']}: {request.get('reason')}")
            signature = request["signature"]
            show.fact("signature", f"r {short(signature['r'])}  s {short(signature['s'])}")
            verify = over(key["publicKey"], signature)
            check(is_valid(verify, message), "the signature does not verify")
            check(not is_valid(verify, message + b"!"), "the signature verifies for another message")
            version = importlib.metadata.version("cryptography")
            show.held(f"verified with cryptography {version}; for a message one letter longer it does not verify")


def try_to_cheat(show: Transcript, robot: Party, key: dict[str, Any]) -> None:
    """A one-time token is good for one request, once."""
    path = f"/keys/{key['id']}"
    honest, forged = {"name": "Payments 2026"}, {"name": "Mallory's"}
    with show.step("Cheat: send another body than the one that was countersigned"):
        token = robot.countersigned("PUT", path, honest)
        show.fact("signed", f"PUT {path}  {json.dumps(honest)}")
        show.fact("sent", f"PUT {path}  {json.dumps(forged)}")
        answer = robot.send("PUT", path, forged, token)
        refused(show, answer, 403, "USER_ACTION_INVALID")
        name = robot.client.keys.get_key(key["id"])["name"]
        check(name == key["name"], f"the key is called {name!r} now")
        show.held(f'the key is still called "{name}"')
    with show.step("Cheat: use a one-time token twice"):
        answer = robot.send("PUT", path, honest, token)
        check(answer.status_code == 200, f"the countersigned request was refused: {answer.status_code} {answer.text}")
        show.held(f'{answer.status_code}  with the body that was countersigned: the key is called "{honest["name"]}"')
        refused(show, robot.send("PUT", path, honest, token), 400, "USER_ACTION_REUSED")


def refused(show: Transcript, answer: httpx.Response, status: int, code: str) -> None:
    """The server must have refused in just this way."""
    found = (answer.status_code, answer.json().get("error", {}).get("code"))
    check(found == (status, code), f"expected {status} {code}, the server answered {answer.status_code} {answer.text}")
    show.held(f"{status}  {code}: {answer.json()['message']}")


def short(text: str) -> str:
    """Enough of a long value to recognise it."""
    return text if len(text) <= 44 else f"{text[:30]}...{text[-8:]}"
