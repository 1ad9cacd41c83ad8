"""A server that trusts an identity provider, and who comes to it from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from countersign.identity import provider_administration
from countersign.identity.provider_administration import NewProvider
from countersign.outgoing import Rules
from tests.support import aio
from tests.support.caller import Caller
from tests.support.entering import public
from tests.support.identity_provider import BACK, SECRET, SSO, IdentityProvider, query_of
from tests.support.inprocess import InProcess
from tests.support.tenants import Tenants, beside

RULES = Rules(allow_http=True, any_port=True, allowed=("127.0.0.0/8",))


@dataclass
class Trusting:
    """The server, its administrator, what writes beside it, and the provider."""

    server: InProcess
    admin: Caller
    tenants: Tenants
    provider: IdentityProvider

    @property
    def org_id(self) -> str:
        """The organisation."""
        return self.admin.connection["orgId"]

    def trust(self, kind: provider_administration.Kind, client_id: str, *redirects: str, **members: Any) -> str:
        """Have an organisation trust a client of the provider; the id of the entry."""
        services = self.server.runtime.services
        usual = {"org_id": self.org_id, "secret": None, "issuer": self.provider.issuer}
        new = NewProvider(kind=kind, client_id=client_id, redirect_uris=redirects, **{**usual, **members})
        return self.run(lambda: provider_administration.add(new, RULES, services.ring, services.world))

    def run(self, make: Any) -> Any:
        """One transaction."""
        return self.server.runner.run(self.server.runtime.services.database.write(make))

    def post(self, path: str, **body: Any) -> httpx.Response:
        """A call of nobody; members that are ``None`` are left out."""
        sent = {name: value for name, value in body.items() if value is not None}
        return public(self.admin, "POST", path, sent)

    def begin(self, flow: str = "sso", **members: Any) -> httpx.Response:
        """Begin a sign-in."""
        client = {"clientId": SSO} if flow == "sso" else {}
        usual = {"orgId": self.org_id, "redirectUri": BACK, **client}
        return self.post(f"/auth/login/{flow}/init", **{**usual, **members})

    def sign_in(self, subject: str, flow: str = "sso", **members: Any) -> tuple[str, str]:
        """Begin it and go through it as a browser; the code and the state."""
        begun = self.begin(flow, **members)
        assert begun.status_code == 200, begun.text
        url = begun.json()["ssoRedirectUrl" if flow == "sso" else "redirectUrl"]
        code, state = self.provider.sign_in(url, subject)
        assert state == query_of(url)["state"]
        return code, state

    def complete(self, code: str, state: str, flow: str = "sso") -> httpx.Response:
        """Complete it."""
        return self.post(f"/auth/login/{flow}", code=code, state=state)

    def social(self, id_token: str, what: str = "login", **members: Any) -> httpx.Response:
        """``what``: ``login`` or ``registration``."""
        usual = {"socialLoginProviderKind": "Oidc", "idToken": id_token, "orgId": self.org_id}
        return self.post(f"/auth/{what}/social", **{**usual, **members})

    def who(self, token: str) -> httpx.Response:
        """What a session may see."""
        return self.admin.http.get("/auth/credentials", headers={"Authorization": f"Bearer {token}"})


def trusting_server(directory: Path, url: str, provider: IdentityProvider) -> Iterator[Trusting]:
    """A server in this process that trusts the provider for single sign-on."""
    with (
        aio.new_runner() as runner,
        InProcess(runner, directory / "data", url, background=False) as server,
        server.caller(server.admin) as admin,
    ):
        made = Trusting(server, admin, beside(server.files.directory, url, server.values["baseUrl"]), provider)
        made.trust("Sso", SSO, BACK, secret=SECRET)
        yield made
