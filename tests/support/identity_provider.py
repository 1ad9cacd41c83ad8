"""A real identity provider (npm ``oidc-provider``) in a process of its own, whose private keys the tests hold.

with IdentityProvider() as provider:
    provider.accounts({"ada": {"email": "ada@example.com", "email_verified": True}})
    code, state = provider.sign_in(redirect_url, "ada")     # as a browser would
    token = provider.id_token("ada")                        # as an app of an end user would
    forged = provider.forge({"alg": "none"}, provider.claims("ada"))
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwk, jws

from countersign.encoding import base64url
from countersign.federation import authorisation, discovery
from countersign.outgoing import Rules
from countersign.world import World
from tests.clients.sdk_node import HERE, require_node

BACK = "https://app.example/back"
OTHER_BACK = "https://app.example/other"
#: What this server is at the provider, and the app of end users; both in each way of signing, and of proving itself.
SSO, SSO_POST, SSO_PUBLIC = "sso", "sso-post", "sso-public"
APP, APP_ES256, APP_EDDSA = "app", "app-es256", "app-eddsa"
#: With characters that are encoded before they go into a header.
SECRET = "a secret: with %2B+ and more"
_KINDS: dict[str, tuple[Any, Any]] = {"RS256": ("RSA", 2048), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
_LOOPBACK = Rules(allow_http=True, any_port=True, allowed=("127.0.0.0/8",))
_NUMBER = itertools.count(1)


def new_keys() -> dict[str, jwk.Key]:
    """A key for each algorithm, with names that nothing had before."""
    made: dict[str, jwk.Key] = {}
    for algorithm, (kind, detail) in _KINDS.items():
        parameters = {"kid": f"key-{next(_NUMBER)}", "use": "sig", "alg": algorithm}
        made[algorithm] = jwk.generate_key(kind, detail, parameters)
    return made


def _client(
    client_id: str, method: str, algorithm: str = "RS256", *, redirects: tuple[str, ...] = ()
) -> dict[str, Any]:
    secret = {} if method == "none" else {"client_secret": SECRET}
    return {
        "client_id": client_id,
        "redirect_uris": [BACK, OTHER_BACK, *redirects],
        "token_endpoint_auth_method": method,
        "id_token_signed_response_alg": algorithm,
        **secret,
    }


class IdentityProvider:
    """The provider; ``keys`` are those it signs with. ``redirects``: where else it sends people back to."""

    def __init__(self, *redirects: str) -> None:
        self._redirects = redirects
        self.keys = new_keys()
        self.issuer = ""

    def __enter__(self) -> IdentityProvider:
        command = [require_node(), "--no-deprecation", "--no-warnings", "provider.mjs"]
        self._process = subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        clients = [
            _client(SSO, "client_secret_basic", redirects=self._redirects),
            _client(SSO_POST, "client_secret_post"),
            _client(SSO_PUBLIC, "none", "ES256"),
            _client(APP, "none"),
            _client(APP_ES256, "none", "ES256"),
            _client(APP_EDDSA, "none", "EdDSA"),
        ]
        self._tell(keys=self._private(), clients=clients, accounts={})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _private(self) -> list[dict[str, Any]]:
        return [key.as_dict(private=True) for key in self.keys.values()]

    def _tell(self, **members: Any) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(members) + "\n")
        self._process.stdin.flush()
        while True:
            # The library prints hints of its own.
            line = self._process.stdout.readline()
            assert line, "the provider ended"
            if line.startswith("{"):
                self.issuer = json.loads(line)["issuer"]
                return

    def accounts(self, claims: dict[str, dict[str, Any]]) -> None:
        """Who there is, by subject."""
        self._tell(accounts=claims)

    def rotate(self) -> None:
        """Sign with other keys from now on, and show the old ones no more."""
        self.keys = new_keys()
        self._tell(keys=self._private())

    def sign_in(self, url: str, subject: str) -> tuple[str, str]:
        """Go where a browser is sent, be this subject, and come back; the code and the state."""
        with httpx.Client(follow_redirects=False) as browser:
            answer = browser.get(url)
            while not (location := answer.headers["location"]).startswith(BACK.rpartition("/")[0]):
                location = str(answer.url.join(location))
                if "/interaction/" in location:
                    assert browser.get(location).status_code == 200
                    answer = browser.post(location, data={"login": subject})
                else:
                    answer = browser.get(location)
        back = parse_qs(urlsplit(location).query)
        assert "code" in back, location
        return back["code"][0], back["state"][0]

    def id_token(self, subject: str, client_id: str = APP) -> str:
        """An ID token as an app gets it, by the code flow, without this server."""
        sign_in = authorisation.new_sign_in(World())
        document = httpx.get(discovery.location(self.issuer)).content
        metadata = discovery.read_metadata(document, self.issuer, _LOOPBACK)
        assert isinstance(metadata, discovery.Metadata), metadata
        url = authorisation.authorisation_url(metadata, client_id, BACK, sign_in)
        code, _ = self.sign_in(url, subject)
        body, headers = authorisation.token_request(metadata, client_id, None, code, BACK, sign_in.verifier)
        answer = httpx.post(metadata.token_endpoint, content=body, headers=dict(headers))
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["id_token"]
        return token

    def claims(self, subject: str, **members: Any) -> dict[str, Any]:
        """What an ID token for the app says, with members changed, or left out where they are ``None``."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": APP, "sub": subject, "iat": now, "exp": now + 590, "jti": next(_NUMBER)}
        return {name: value for name, value in {**usual, **members}.items() if value is not None}

    def forge(self, claims: dict[str, Any], header: dict[str, Any] | None = None, key: jwk.Key | None = None) -> str:
        """A token signed with the provider's RSA key, unless another is given."""
        signer = key or self.keys["RS256"]
        return sign({"alg": "RS256", "kid": signer.kid, **(header or {})}, claims, signer)


def sign(header: dict[str, Any], payload: dict[str, Any] | bytes, key: jwk.Key) -> str:
    """A token of exactly this header and payload, signed whatever the key is for; unsigned for ``alg`` ``none``."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{base64url.encode(json.dumps(header).encode())}.{base64url.encode(text)}"
    if header["alg"] == "none":
        return f"{signed}."
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    return f"{signed}.{base64url.encode(algorithm.sign(signed.encode(), key))}"


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
