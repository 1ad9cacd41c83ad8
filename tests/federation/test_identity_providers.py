"""Going to providers: how often, whatever comes in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from countersign.credentials.outcome import Refused
from countersign.federation import Expected, IdentityProviders
from countersign.federation.identity_providers import LOOK_AGAIN_MS
from countersign.outgoing import Answer, Rules
from countersign.world import World
from tests.support.id_tokens import Forger
from tests.support.identity_provider import new_keys

ISSUER, CLIENT, NOW_MS = "https://id.example", "client", 1_800_000_000_000
KEYS = new_keys()


class Counting:
    """In the place of the client for outgoing requests: the provider's documents, and how often they were asked for."""

    rules = Rules()

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, url: str, _headers: Mapping[str, str], *, most: int) -> Answer:
        self.asked.append(url)
        await asyncio.sleep(0)
        endpoints = {name: f"{ISSUER}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        jwks = {"keys": [key.as_dict(private=False) for key in KEYS.values()]}
        shown: dict[str, Any] = jwks if url == endpoints["jwks_uri"] else {"issuer": ISSUER, **endpoints}
        return Answer(200, json.dumps(shown).encode()[:most], public=True)


async def test_threat_49_invented_names_of_keys_have_a_provider_asked_once_in_ten_seconds() -> None:
    client, now = Counting(), [NOW_MS]
    providers = IdentityProviders(client, World(clock=lambda: now[0]))
    invented = Forger(KEYS, ISSUER, CLIENT, "Ada", NOW_MS // 1000).token({"kid": "invented"})
    for read in (1, 1, 2, 2):
        comers = (providers.verify(invented, Expected(ISSUER, CLIENT, None)) for _ in range(5))
        assert all(isinstance(each, Refused) for each in await asyncio.gather(*comers))
        assert len(client.asked) == 2 * read
        now[0] += LOOK_AGAIN_MS // 2
