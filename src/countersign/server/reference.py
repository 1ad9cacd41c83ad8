"""The reference of operations as Markdown, generated from the table of operations by way of its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from countersign.api import Operation
from countersign.server.documents import openapi

#: Beginnings of paths and what stands behind them, the longer first.
_CHAPTERS = (
    ("/auth/action/logs", "Audit log"),
    ("/auth/action", "User action signing"),
    ("/auth/apps", "Applications"),
    ("/auth/credentials", "Credentials"),
    ("/auth/pats", "Personal access tokens"),
    ("/auth/service-accounts", "Service accounts"),
    ("/auth/users", "Users"),
    ("/keys/{keyId}/signatures", "Signatures"),
    ("/key-stores", "Key stores"),
    ("/keys", "Keys"),
    ("/permissions", "Permissions"),
    ("/v2/policies", "Policies"),
    ("/v2/policy-approvals", "Approvals"),
    ("/", "Server"),
)
_CALLERS = {"Token": "sessions", "ServiceAccount": "service accounts", "Pat": "personal access tokens"}
_USERS = {"CustomerEmployee": "employees", "EndUser": "end users"}


def markdown(operations: Iterable[Operation]) -> str:
    """Every operation: what it does, who may call it, the members of query, body and answer. Ends with a newline."""
    listed = list(operations)
    document = openapi(listed, "")
    schemas: dict[str, Any] = document["components"]["schemas"]
    parts = []
    for prefix, chapter in sorted(_CHAPTERS, key=lambda pair: pair[1]):
        inside = [operation for operation in listed if _chapter(operation.path) == prefix]
        if inside:
            parts.append(f"## {chapter}\n")
            parts += [_operation(operation, document["paths"], schemas) for operation in inside]
    return "\n".join(parts)


def _chapter(path: str) -> str:
    return next(prefix for prefix, _title in _CHAPTERS if path.startswith(prefix))


def _operation(operation: Operation, paths: dict[str, Any], schemas: dict[str, Any]) -> str:
    entry = paths.get(operation.path, {}).get(operation.method.lower(), {})
    lines = [f"### {operation.method} {operation.path}", "", _prose(operation.description), "", _access(operation), ""]
    rows: list[str] = []
    for parameter in entry.get("parameters", ()):
        if parameter["in"] == "query":
            rows += _cells(parameter["name"], parameter["schema"], parameter["required"], schemas)
    rows = [f"| query | {cells} |" for cells in rows]
    rows += _body(entry.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema"), schemas)
    if rows:
        lines += ["| in | member | type |", "| --- | --- | --- |", *rows, ""]
    for status, words in (("200", "Answer"), ("202", "Answer 202, where it waits for an approval")):
        answer = entry.get("responses", {}).get(status, {}).get("content", {}).get("application/json", {}).get("schema")
        for variant, prefix in _variants(answer, schemas):
            names = ", ".join(f"`{name}`" for name in variant.get("properties", {}))
            if names:
                lines += [f"{words}{prefix}: {names}", ""]
    if "204" in entry.get("responses", {}):
        lines += ["Answer 204: nothing", ""]
    return "\n".join(lines)


def _prose(description: str) -> str:
    return description.replace("``", "`")


def _access(operation: Operation) -> str:
    if operation.public:
        return f"`{operation.id}` · without authentication"
    needs = "token and user action" if operation.signed else "token"
    words = [f"`{operation.id}`", needs]
    if operation.permission is not None:
        words.append(f"permission `{operation.permission}`")
    if operation.callers != frozenset(_CALLERS):
        words.append("only " + ", ".join(text for kind, text in _CALLERS.items() if kind in operation.callers))
    if operation.user_kinds != frozenset(_USERS):
        words.append("only " + ", ".join(text for kind, text in _USERS.items() if kind in operation.user_kinds))
    return " · ".join(words)


def _body(schema: dict[str, Any] | None, schemas: dict[str, Any]) -> list[str]:
    """The rows of a body; where it has several forms, first what all of them hold."""
    forms = {
        label: [
            cells
            for name, member in variant.get("properties", {}).items()
            for cells in _cells(name, member, name in variant.get("required", ()), schemas)
        ]
        for variant, label in _variants(schema, schemas)
    }
    shared = [cells for cells in next(iter(forms.values()), []) if all(cells in form for form in forms.values())]
    rows = [f"| body | {cells} |" for cells in shared]
    for label, form in forms.items():
        rows += [f"| body{label} | {cells} |" for cells in form if cells not in shared]
    return rows


def _variants(schema: dict[str, Any] | None, schemas: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The object schemas behind a schema, each with what tells it from the others: its kind, or its name."""
    if schema is None:
        return
    schema = _resolved(schema, schemas)
    mapping = schema.get("discriminator", {})
    if "mapping" in mapping:
        for value, reference in mapping["mapping"].items():
            yield _resolved({"$ref": reference}, schemas), f", `{value}`"
    elif "anyOf" in schema:
        for choice in schema["anyOf"]:
            variant = _resolved(choice, schemas)
            yield variant, f", `{variant['title']}`" if "title" in variant else ""
    else:
        yield schema, ""


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = schemas[reference.removeprefix("#/components/schemas/")]
    return found


def _cells(name: str, member: dict[str, Any], required: bool, schemas: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Name and type of a member and of those inside it, as two cells of a table each."""
    yield f"`{name}` | {_type(member, schemas)}{', required' if required else ''}"
    inside = _resolved(member, schemas)
    if depth < 2:
        for child, schema in inside.get("properties", {}).items():
            needed = child in inside.get("required", ())
            yield from _cells(f"{name}.{child}", schema, needed, schemas, depth + 1)


def _type(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    schema = _resolved(schema, schemas)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        # Through a dict: several kinds of one shape read as one.
        return " or ".join(dict.fromkeys(_type(choice, schemas) for choice in schema["anyOf"]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), schemas)}"
    if kind == "string" and "maxLength" in schema:
        return f"string of {schema.get('minLength', 0)} to {schema['maxLength']}"
    return str(kind)
