"""Going to identity providers: their configuration and keys, remembered for ten minutes, and codes redeemed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

import structlog

from countersign.credentials.outcome import Refused
from countersign.federation import authorisation, discovery, id_token
from countersign.federation.discovery import Metadata
from countersign.federation.id_token import Expected, Identity
from countersign.federation.provider_keys import UNKNOWN_KEY, ProviderKey, read_keys
from countersign.outgoing import OutgoingClient, Unreached
from countersign.world import World

#: How long configuration and keys are believed: a key that a provider withdrew counts that long at most.
FRESH_MS = 600_000
#: Least time between two looks for a key that is not known: tokens with invented names cause no more of them.
LOOK_AGAIN_MS = 10_000
#: Bytes of an answer that are read.
_ANSWER_BYTES = 262_144
_MOST_PROVIDERS = 1_000

log = structlog.get_logger("countersign.federation")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The provider was not reached, or does not speak as it must; ``reason`` is for the log and the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class Client:
    """What this server is at a provider. Without ``secret`` a public client, with PKCE alone."""

    issuer: str
    client_id: str
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    metadata: Metadata
    keys: tuple[ProviderKey, ...]
    read_at: int


class IdentityProviders:
    """One a process. Providers are named by their issuer; which of them is trusted for what is for others to know."""

    def __init__(self, client: OutgoingClient, world: World) -> None:
        self.client = client
        self._world = world
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reading: dict[str, asyncio.Task[_Known | Unavailable]] = {}

    async def metadata(self, issuer: str) -> Metadata | Unavailable:
        """Where the provider is reached."""
        known = await self._fresh(issuer)
        return known if isinstance(known, Unavailable) else known.metadata

    async def keys(self, issuer: str) -> tuple[ProviderKey, ...] | Unavailable:
        """The keys that it signs with."""
        known = await self._fresh(issuer)
        return known if isinstance(known, Unavailable) else known.keys

    async def verify(self, token: str, expected: Expected) -> Identity | Refused | Unavailable:
        """Check an ID token under the provider's keys, which are read again for a key that is not known."""
        known = await self._fresh(expected.issuer)
        if isinstance(known, Unavailable):
            return known
        verified = id_token.verify(token, known.keys, expected, self._world.now() // 1000)
        if not isinstance(verified, Refused) or verified.reason != UNKNOWN_KEY:
            return verified
        if 0 <= self._world.now() - known.read_at < LOOK_AGAIN_MS:
            return verified
        known = await self._read_once(expected.issuer)
        if isinstance(known, Unavailable):
            return known
        return id_token.verify(token, known.keys, expected, self._world.now() // 1000)

    async def redeem(self, client: Client, code: str, redirect_uri: str, verifier: str) -> str | Refused | Unavailable:
        """Trade a code for the ID token behind it, which is yet to be verified."""
        metadata = await self.metadata(client.issuer)
        if isinstance(metadata, Unavailable):
            return metadata
        body, headers = authorisation.token_request(
            metadata, client.client_id, client.secret, code, redirect_uri, verifier
        )
        answer = await self.client.post(metadata.token_endpoint, body, headers, most=_ANSWER_BYTES)
        if isinstance(answer, Unreached):
            return _told(client.issuer, f"token endpoint: {answer.code}")
        if answer.status == 200:
            return authorisation.read_token_answer(answer.body)
        if 400 <= answer.status < 500 and answer.status != 429:
            return Refused(f"the provider refuses the code or the client ({answer.status})")
        return _told(client.issuer, f"token endpoint: status {answer.status}")

    async def close(self) -> None:
        """Stop reading, and close every connection."""
        for task in tuple(self._reading.values()):
            task.cancel()
        await self.client.close()

    async def _fresh(self, issuer: str) -> _Known | Unavailable:
        known = self._known.get(issuer)
        if known is not None and 0 <= self._world.now() - known.read_at < FRESH_MS:
            return known
        return await self._read_once(issuer)

    async def _read_once(self, issuer: str) -> _Known | Unavailable:
        """Whoever asks while it is being read waits for that answer: a slow provider is asked by one at a time."""
        task = self._reading.get(issuer)
        if task is None:
            task = self._reading[issuer] = asyncio.create_task(self._read(issuer))
            task.add_done_callback(lambda _task: self._reading.pop(issuer, None))
        return await asyncio.shield(task)

    async def _read(self, issuer: str) -> _Known | Unavailable:
        now = self._world.now()
        body = await self._get(discovery.location(issuer))
        if isinstance(body, str):
            return _told(issuer, f"configuration: {body}")
        metadata = discovery.read_metadata(body, issuer, self.client.rules)
        if isinstance(metadata, Refused):
            return _told(issuer, metadata.reason)
        body = await self._get(metadata.jwks_uri)
        if isinstance(body, str):
            return _told(issuer, f"keys: {body}")
        keys = read_keys(body)
        if isinstance(keys, Refused):
            return _told(issuer, keys.reason)
        known = self._known[issuer] = _Known(metadata, keys, now)
        self._known.move_to_end(issuer)
        if len(self._known) > _MOST_PROVIDERS:
            self._known.popitem(last=False)
        return known

    async def _get(self, url: str) -> bytes | str:
        """The body, or why there is none."""
        answer = await self.client.get(url, {"Accept": "application/json"}, most=_ANSWER_BYTES)
        if isinstance(answer, Unreached):
            return answer.code
        return answer.body if answer.status == 200 else f"status {answer.status}"


def _told(issuer: str, reason: str) -> Unavailable:
    log.warning("an identity provider is of no use", issuer=issuer, reason=reason)
    return Unavailable(reason)
