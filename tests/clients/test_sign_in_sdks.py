"""Identity providers as an operator sets them up and people use them: the command line, and both official SDKs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.sdk_python import python_client
from tests.clients.test_entering_sdks import Connect, credential, mailed_code, sdk, with_token
from tests.support.commands import Done, countersign
from tests.support.enrolment import NewKey
from tests.support.identity_provider import APP, BACK, OTHER_BACK, SECRET, SSO, IdentityProvider
from tests.support.server import Sandbox

_NUMBER = itertools.count(1)
__all__ = ["sdk"]


@dataclass
class Trusted:
    """A running server and the provider that it trusts; ``sso``: the id of the entry for employees."""

    sandbox: Sandbox
    provider: IdentityProvider
    sso: str

    def command(self, name: str, *arguments: object) -> Done:
        """``countersign admin identity-providers``."""
        return identity_providers(self.sandbox, name, *arguments)

    def said(self, name: str, *arguments: object) -> str:
        """What it prints."""
        done = self.command(name, *arguments)
        assert done.status == 0, done.errors
        return done.output.strip()


def identity_providers(sandbox: Sandbox, name: str, *arguments: object) -> Done:
    return countersign("admin", "identity-providers", name, *arguments, "--data", sandbox.directory)


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module")
def trusted(shared_sandbox: Sandbox, provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Trusted:
    file: Path = tmp_path_factory.mktemp("secret") / "client.secret"
    file.write_text(f"{SECRET}\n")
    options = ("--issuer", provider.issuer, "--client-id", SSO, "--redirect-uri", BACK, "--client-secret-file", file)
    added = identity_providers(shared_sandbox, "add", "--kind", "sso", *options)
    assert added.status == 0, added.errors
    app = ("--kind", "social", "--issuer", provider.issuer, "--client-id", APP)
    assert identity_providers(shared_sandbox, "add", *app).status == 0
    return Trusted(shared_sandbox, provider, added.output.strip())


@pytest.fixture
def name(trusted: Trusted) -> str:
    """Somebody whom the provider knows."""
    subject = f"person{next(_NUMBER)}"
    trusted.provider.accounts({subject: {"email": f"{subject}@example.com", "email_verified": True}})
    return subject


def test_an_employee_signs_in_with_either_sdk(trusted: Trusted, sdk: Connect, name: str) -> None:
    admin, mail = sdk(trusted.sandbox.admin), f"{name}@example.com"
    admin.call("create_user", {"email": mail, "kind": "CustomerEmployee", "isSSORequired": True})
    wanted = {"orgId": trusted.sandbox.values["orgId"], "clientId": SSO, "redirectUri": BACK}
    begun = admin.call("sso_login_init", wanted)
    code, state = trusted.provider.sign_in(begun["ssoRedirectUrl"], name)
    entered = admin.call("sso_login", {"code": code, "state": state})
    person = sdk(with_token(trusted.sandbox.admin, entered["token"]))
    assert person.call("list_credentials") == {"items": []}
    with pytest.raises(admin.error, match="unknown, completed or too old"):
        admin.call("sso_login", {"code": code, "state": state})
    with pytest.raises(admin.error, match="not set up"):
        admin.call("sso_login_init", {**wanted, "redirectUri": OTHER_BACK})
    # With a credential of their own they sign; to log in by it they are sent to the provider.
    key, register = NewKey(), {"username": mail, "registrationCode": mailed_code(trusted.sandbox, mail, "Invitation")}
    challenge = admin.call("create_registration_challenge", {**register, "orgId": wanted["orgId"]})
    registering = sdk(with_token(trusted.sandbox.admin, challenge["temporaryAuthenticationToken"]))
    registering.call("register", {"firstFactorCredential": credential(challenge, key, "Key")})
    challenge = admin.call("create_login_challenge", {"username": mail, "orgId": wanted["orgId"]})
    proof = {
        "challengeIdentifier": challenge["challengeIdentifier"],
        "firstFactor": key.factor(challenge["challenge"]),
    }
    assert admin.call("login", proof) == {"ssoClientId": SSO}


def test_an_end_user_registers_and_logs_in_with_either_sdk(trusted: Trusted, sdk: Connect, name: str) -> None:
    client, org_id = sdk(trusted.sandbox.admin), trusted.sandbox.values["orgId"]

    def body() -> dict[str, Any]:
        token = trusted.provider.id_token(name)
        return {"socialLoginProviderKind": "Oidc", "idToken": token, "orgId": org_id}

    with pytest.raises(client.error, match="User not found"):
        client.call("social_login", body())
    challenge = client.call("create_social_registration_challenge", body())
    assert challenge["user"]["displayName"] == f"{name}@example.com"
    registering, key = sdk(with_token(trusted.sandbox.admin, challenge["temporaryAuthenticationToken"])), NewKey()
    new = {"firstFactorCredential": credential(challenge, key, "Key"), "wallets": []}
    assert registering.call("register_end_user", new)["authentication"]["token"]
    used = body()
    entered = client.call("social_login", used)
    person = sdk(with_token(trusted.sandbox.admin, entered["token"]))
    assert [item["credentialId"] for item in person.call("list_credentials")["items"]] == [key.credential_id]
    with pytest.raises(client.error, match="not accepted"):
        client.call("social_login", used)


def test_a_first_credential_is_registered_with_the_newest_python_sdk(trusted: Trusted, name: str) -> None:
    sandbox = trusted.sandbox
    admin: Any = python_client(sandbox.admin)
    admin.auth.create_user({"email": f"{name}@example.com", "kind": "CustomerEmployee"})
    begun = admin.auth.oidc_login_init({"redirectUri": BACK})
    code, state = trusted.provider.sign_in(begun["redirectUrl"], name)
    entered = admin.auth.oidc_login({"code": code, "state": state})
    challenge, key = entered["credentialChallenge"], NewKey()
    body = {
        **credential(challenge, key, "Key"),
        "credentialName": "first",
        "challengeIdentifier": challenge["challengeIdentifier"],
    }
    made = admin.auth.oidc_login_credentials(body)
    person: Any = python_client(with_token(sandbox.admin, entered["token"]))
    assert person.auth.list_credentials()["items"] == [made]


def test_an_operator_sees_what_is_trusted_and_why_something_is_not(trusted: Trusted) -> None:
    listed = {each["id"]: each for each in json.loads(trusted.said("list", "--json"))}
    shown = listed[trusted.sso]
    assert (shown["kind"], shown["clientId"], shown["redirectUris"], shown["hasSecret"]) == ("Sso", SSO, [BACK], True)
    assert SECRET not in json.dumps(listed)
    assert "answers: 3 keys" in trusted.said("check", trusted.sso)
    wrong = ("--kind", "sso", "--issuer", trusted.provider.issuer, "--client-id", "other")
    for arguments, told in (
        (("add", *wrong, "--redirect-uri", "http://app.example/"), "plain http"),
        (("add", "--kind", "social", "--issuer", "http://127.0.0.1:9", "--client-id", "a"), "ECONNREFUSED"),
        (("remove", "ip-none"), "there is no identity provider"),
    ):
        refused = trusted.command(*arguments)
        assert (refused.status, told in refused.errors) == (1, True), refused.errors
