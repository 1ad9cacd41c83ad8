"""How settings are read: a TOML file, then the environment over it; unknown ones are refused.

Environment names are ``COUNTERSIGN_`` and the setting in upper case; lists are comma-separated.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from countersign.server.settings import BadSettings, Settings

ENVIRONMENT_PREFIX = "COUNTERSIGN_"

#: Environment names with the prefix that are not settings of the server.
RESERVED_ENVIRONMENT = frozenset(
    {
        "COUNTERSIGN_CONFIG",
        "COUNTERSIGN_POSTGRES_BIN",
        "COUNTERSIGN_REQUIRE_POSTGRES",
        "COUNTERSIGN_REQUIRE_CHROMIUM",
        "COUNTERSIGN_REQUIRE_NODE",
        "COUNTERSIGN_PASSPHRASE_FD",
        "COUNTERSIGN_SMTP_PASSWORD",
    }
)


def load(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read settings from a file (may be ``None``), environment and overrides, later ones winning.

    Raises :class:`BadSettings` with one clear line.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values.update(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise BadSettings(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings(f"{path}: {error}") from None
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    for key in values:
        if key not in fields:
            raise BadSettings(f"{path}: unknown setting {key}{_alternative(key, fields)}")
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in RESERVED_ENVIRONMENT:
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key not in fields:
            raise BadSettings(f"unknown setting in the environment: {name}{_alternative(key, fields)}")
        values[key] = _from_text(fields[key].default, text)
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadSettings(_named(str(error))) from None


def _alternative(key: str, known: Iterable[str]) -> str:
    close = get_close_matches(key, known, 1)
    return f"; did you mean {close[0]}?" if close else "; 'countersign settings' lists them all"


def _named(fault: str) -> str:
    """The fault with the setting's name first, where msgspec names it last."""
    text, found, path = fault.replace("`", "").partition(" - at $.")
    return f"{path}: {text[0].lower()}{text[1:]}" if found else text


def _from_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadSettings(f"a list in the environment is not JSON: {error}") from None


def _from_text(default: Any, text: str) -> Any:
    if isinstance(default, tuple) and text.lstrip().startswith("["):
        return _from_json(text)
    if isinstance(default, tuple):
        return [item.strip() for item in text.split(",") if item.strip()]
    if isinstance(default, bool):
        return text.strip().lower()
    return text


def reference() -> str:
    """The settings as a Markdown table, for the documentation."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    schema = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    for field in msgspec.structs.fields(Settings):
        default = field.default
        shown = (
            ", ".join(default)
            if isinstance(default, tuple)
            else str(default).lower()
            if isinstance(default, bool)
            else default
        )
        cell = f"`{shown}`" if shown != "" else "(empty)"
        lines.append(f"| `{field.name}` | {cell} | {schema[field.name].get('description', '')} |")
    return "\n".join(lines) + "\n"
