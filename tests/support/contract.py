"""Checks every answer of the server against the wire contract, whichever client it went to.

``attach`` puts the check into an ``httpx`` client (the official Python SDK holds one), ``ContractTransport`` and
``AsyncContractTransport`` around the transport of one; ``check`` takes an answer that came some other way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from jsonschema import Draft202012Validator

from tests.contract import contract

#: What the server offers beside the API: the contract does not speak of it.
OUTSIDE = ("/healthz", "/readyz", "/openapi.json", "/metrics", "/.well-known/", "/console")

#: Operations of our own among those of the API: their refusals keep to the envelope, their answers to our types alone.
OURS = (
    ("DELETE", "/auth/sessions/{sessionId}"),
    ("GET", "/auth/sessions"),
    ("GET", "/keys/{keyId}/export/approvals"),
    ("POST", "/auth/credentials/{credentialUuid}/endorse"),
    ("POST", "/keys/{keyId}/destroy"),
    ("POST", "/keys/{keyId}/export/approvals"),
    ("POST", "/policies/simulate"),
    ("POST", "/webhooks/{webhookId}/events/{webhookEventId}/resend"),
)
_OURS = tuple((method, re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path)))) for method, path in OURS)


def is_ours(method: str, path: str) -> bool:
    """Whether a request is for an operation that the contract does not know."""
    return any(method == known and pattern.fullmatch(path) for known, pattern in _OURS)


#: Members of a stored event that the reference names and the SDKs' types lack, so that the contract does not know them.
_OF_EVENTS: dict[str, type] = {"deliveryFailed": bool, "deliveryAttempt": int, "retryOf": str, "nextAttemptDate": str}
#: Kinds that exist upstream and that the SDKs' types lack, and one that they name in their stead for the check.
_UNTYPED_KINDS, _TYPED_KIND = ("policy.activity.resolved",), "policy.triggered"
_EVENTS = re.compile(r"/webhooks/[^/]+/events(/[^/]+)?")


def _without_documented(path: str, body: Any) -> Any:
    """An answer about webhook events as far as the contract speaks of it; the rest is checked here."""
    if not _EVENTS.fullmatch(path) or not isinstance(body, dict):
        return body
    if "items" in body:
        return {**body, "items": [_event_without_documented(item) for item in body["items"]]}
    return _event_without_documented(body)


def _event_without_documented(event: dict[str, Any]) -> dict[str, Any]:
    for name, kind in _OF_EVENTS.items():
        if name in event and type(event[name]) is not kind:
            raise contract.ContractViolation(f"{name} of a webhook event is no {kind.__name__}")
    kept = {name: value for name, value in event.items() if name not in _OF_EVENTS}
    return {**kept, "kind": _TYPED_KIND} if kept["kind"] in _UNTYPED_KINDS else kept


@cache
def _envelope() -> Draft202012Validator:
    schema = json.loads(Path(contract.__file__).with_name("errors.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema["envelope"])


def check(method: str, target: str, status: int, body: Any) -> None:
    """Raise ``ContractViolation`` unless this answer, its decoded JSON ``body`` included, is one the contract allows.

    ``target`` is a path, with or without query, or a URL. A refused request that names no operation (an unknown path, a
    wrong method) must still get the error envelope.
    """
    parts = urlsplit(target)
    if parts.path.startswith(OUTSIDE):
        return
    if status >= 400:
        for defect in _envelope().iter_errors(body):
            raise contract.ContractViolation(f"{method} {parts.path} {status}: {defect.json_path}: {defect.message}")
        if contract.match(method, parts.path) is None:
            return
    if is_ours(method, parts.path):
        return
    known = body if status >= 400 else _without_documented(parts.path, body)
    contract.validate_response(method, parts.path, status, known, strict=True)


def check_raw(method: str, target: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
    """As ``check``, for an answer as bytes: its content type must be the one that the operation answers with."""
    path = urlsplit(target).path
    if path.startswith(OUTSIDE):
        return
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if not content:
        check(method, path, status, None)
    elif kind == "application/json":
        check(method, path, status, json.loads(content))
    else:
        hit = contract.match(method, path)
        others = (
            () if hit is None else (hit[0].spec.get("responseContentType"), hit[0].spec.get("altResponseContentType"))
        )
        if status >= 400 or kind not in others:
            raise contract.ContractViolation(f"{method} {path} {status}: unexpected content type {kind!r}")


def _check_response(response: httpx.Response) -> None:
    request = response.request
    check_raw(request.method, str(request.url), response.status_code, response.headers, response.content)


def attach(client: httpx.Client) -> httpx.Client:
    """Check every answer that this client gets from now on; returns the client."""

    def on_response(response: httpx.Response) -> None:
        response.read()
        _check_response(response)

    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks["response"], on_response]}
    return client


def attach_async(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """``attach`` for an asynchronous client."""

    async def on_response(response: httpx.Response) -> None:
        await response.aread()
        _check_response(response)

    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks["response"], on_response]}
    return client


class ContractTransport(httpx.BaseTransport):
    """A transport that checks what another one answers, for ``httpx.Client(transport=...)``."""

    def __init__(self, inner: httpx.BaseTransport | None = None) -> None:
        self._inner = inner or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request on, read the whole answer, check it."""
        response = self._inner.handle_request(request)
        response.request = request
        response.read()
        _check_response(response)
        return response

    def close(self) -> None:
        """Close the transport within."""
        self._inner.close()


class AsyncContractTransport(httpx.AsyncBaseTransport):
    """``ContractTransport`` for ``httpx.AsyncClient(transport=...)``."""

    def __init__(self, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self._inner = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request on, read the whole answer, check it."""
        response = await self._inner.handle_async_request(request)
        response.request = request
        await response.aread()
        _check_response(response)
        return response

    async def aclose(self) -> None:
        """Close the transport within."""
        await self._inner.aclose()
