"""Documents generated from the table of operations: OpenAPI 3.1, a Postman collection, the routes."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from countersign import __version__
from countersign.api import CATALOGUE, Held, Operation, Response

_ERROR_REF = {"$ref": "#/components/responses/Error"}
#: What browsers and probes fetch, and no client of the API calls.
APART = ("/healthz", "/readyz", "/console")
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Documents:
    """What is served about the operations; made when it is first asked for, which of most servers it never is."""

    operations: tuple[Operation, ...]
    base_url: str

    @cached_property
    def openapi(self) -> bytes:
        """The OpenAPI document, as JSON."""
        return msgspec.json.encode(openapi(self.operations, self.base_url))


def _is_typed(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _results(operation: Operation) -> tuple[Any, ...]:
    """What the operation may answer: one type, or each of a union; ``NoneType`` is an answer without content."""
    result = operation.result
    return typing.get_args(result) if isinstance(result, types.UnionType) else (result,)


def _types(operations: Iterable[Operation]) -> list[Any]:
    found: dict[Any, None] = {}
    for operation in operations:
        for kind in (operation.body, operation.query, *_results(operation)):
            if kind not in (None, types.NoneType, Response) and (_is_typed(kind) or not isinstance(kind, type)):
                found.setdefault(kind, None)
    return list(found)


def openapi(operations: Iterable[Operation], base_url: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document; schemas are those that requests are read with."""
    listed = [operation for operation in operations if not operation.path.startswith(APART)]
    kinds = _types(listed)
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of, components)
    codes = "\n".join(f"| {kind.status} | `{code}` | {kind.remedy} |" for code, kind in CATALOGUE.items())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign",
            "version": __version__,
            "description": "Keys that sign only what was countersigned.\n\n"
            f"| status | code | what to do |\n| --- | --- | --- |\n{codes}\n",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR_SCHEMA},
            "responses": {
                "Error": {
                    "description": "The error envelope",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "userAction": {"type": "apiKey", "in": "header", "name": "X-DFNS-USERACTION"},
            },
        },
    }


def _operation(operation: Operation, schema_of: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": _parameters(operation, components),
        "responses": _responses(operation, schema_of),
    }
    if operation.permission is not None:
        entry["x-permission"] = operation.permission
    if not operation.public:
        entry["security"] = [{"bearer": [], "userAction": []}] if operation.signed else [{"bearer": []}]
    if operation.body is not None:
        entry["requestBody"] = {
            "required": operation.body in schema_of and _has_required(operation.body),
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    return entry


def _has_required(kind: Any) -> bool:
    return not _is_typed(kind) or any(field.required for field in msgspec.structs.fields(kind))


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(operation.path)
    ]
    if operation.query is not None:
        schema = components[operation.query.__name__]
        required = schema.get("required", [])
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": member}
            for name, member in schema["properties"].items()
        ]
    return found


def _responses(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in _results(operation):
        if kind is types.NoneType:
            found["204"] = {"description": "Done"}
        elif _is_typed(kind) and issubclass(kind, Held):
            content = {"application/json": {"schema": schema_of[kind]}}
            found["202"] = {"description": "Waits for an approval", "content": content}
        else:
            found["200"] = {"description": "Done"}
            if kind in schema_of:
                found["200"]["content"] = {"application/json": {"schema": schema_of[kind]}}
            elif kind is Response:
                found["200"]["content"] = {"application/json": {}}
    return {**found, "default": _ERROR_REF}


_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["id", "status", "message", "code"],
            "properties": {
                "id": {"type": "string"},
                "status": {"type": "integer"},
                "message": {"type": "string"},
                "code": {"enum": sorted(CATALOGUE)},
                "details": {"type": "object"},
            },
        },
        "message": {"type": "string"},
    },
}


def postman(document: dict[str, Any]) -> dict[str, Any]:
    """The same as a Postman 2.1 collection, with the bearer token and the user action as variables."""
    items = []
    for path, methods in document["paths"].items():
        for method, entry in methods.items():
            segments = [_PARAMETER.sub(r":\1", part) for part in path.strip("/").split("/")]
            headers = [{"key": "Content-Type", "value": "application/json"}]
            if any("userAction" in item for item in entry.get("security", [])):
                headers.append({"key": "X-DFNS-USERACTION", "value": "{{userAction}}"})
            items.append(
                {
                    "name": entry["summary"],
                    "request": {
                        "method": method.upper(),
                        "header": headers,
                        "url": {"raw": "{{baseUrl}}/" + "/".join(segments), "host": ["{{baseUrl}}"], "path": segments},
                        "description": entry["description"],
                    },
                }
            )
    return {
        "info": {
            "name": document["info"]["title"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{authToken}}", "type": "string"}]},
        "variable": [{"key": "baseUrl", "value": document["servers"][0]["url"]}],
        "item": items,
    }


def routes(operations: Iterable[Operation]) -> list[tuple[str, str, str, str, str]]:
    """Rows of ``countersign routes``: method, path, authentication, permission, name."""
    return [
        (
            operation.method,
            operation.path,
            "public" if operation.public else "bearer + user action" if operation.signed else "bearer",
            operation.permission or "-",
            operation.id,
        )
        for operation in operations
    ]
