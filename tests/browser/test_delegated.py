"""The delegated flow of the SDK's examples: a server with a service account, and its user with only a browser.

The server registers and logs in for its user and makes each request in two calls; between them the user's passkey
signs, on the server's own page, with the official browser signer.
"""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.browser.conftest import LISTED, House
from tests.browser.devices import Device
from tests.clients.sdk_node import NodeClient
from tests.clients.signatures import check_eddsa
from tests.console.built import CONSOLE, require_build_tools

_PAGE = """
import { WebAuthnSigner } from "@dfns/sdk-browser"
globalThis.passkeys = new WebAuthnSigner({ relyingParty: { id: "localhost", name: "The customer" } })
"""
_BUILD = """
const stdin = { contents: process.argv[1], resolveDir: "." }
const options = { stdin, bundle: true, write: false, platform: "browser", define: { global: "globalThis" } }
process.stdout.write(require("esbuild").buildSync(options).outputFiles[0].text)
"""


@pytest.fixture
def customer(house: House) -> Device:
    """The customer's page, at an origin of theirs."""
    build = [require_build_tools(), "-e", _BUILD, _PAGE]
    script = subprocess.run(build, cwd=CONSOLE, capture_output=True, text=True, check=True).stdout
    device = house.device()
    page = "<!doctype html><link rel=icon href='data:,'><script src=/app.js></script>"
    device.page.route(f"{LISTED}/app", lambda route: route.fulfill(content_type="text/html", body=page))
    device.page.route(f"{LISTED}/app.js", lambda route: route.fulfill(content_type="text/javascript", body=script))
    device.page.goto(f"{LISTED}/app")
    return device


def test_a_server_acts_for_its_user_with_the_passkey_of_the_users_browser(house: House, customer: Device) -> None:
    name = "user-of-the-customer"

    def signed_by_user(challenge: dict[str, Any]) -> dict[str, Any]:
        factor = customer.page.evaluate("challenge => passkeys.sign(challenge)", challenge)
        return {"challengeIdentifier": challenge["challengeIdentifier"], "firstFactor": factor}

    service = house.server.service
    with NodeClient(service) as program:
        challenge = program.call("auth.createDelegatedRegistrationChallenge", body={"email": name, "kind": "EndUser"})
        made = customer.page.evaluate("challenge => passkeys.create(challenge)", challenge)
        bearer = {**service, "authToken": challenge["temporaryAuthenticationToken"]}
        with NodeClient(bearer) as registering:
            done = registering.call("auth.registerEndUser", body={"firstFactorCredential": made, "wallets": []})
        body = {"scheme": "EdDSA", "curve": "ed25519", "delayDelegation": True}
        key = program.call("keys.createKey", body=body)
        program.call("keys.delegateKey", keyId=key["id"], body={"delegateTo": done["user"]["id"]})
        token = program.call("auth.delegatedLogin", body={"username": name})["token"]
    with NodeClient({**service, "authToken": token}, delegated=True) as user:
        asked = {"keyId": key["id"], "body": {"kind": "Message", "message": "0xaabb"}}
        challenge = user.call_with("keys.generateSignatureInit", asked)
        proof = signed_by_user(challenge)
        signature = user.call_with("keys.generateSignatureComplete", asked, proof)
    check_eddsa(key["publicKey"], b"\xaa\xbb", signature["signature"])
