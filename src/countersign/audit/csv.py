"""The log as comma separated values (RFC 4180), safe to open in a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from countersign.audit.entry import Action, Entry, Signature

HEADER = "Date Performed,Audit Log ID,User ID,Username,Primary Credential ID,Action Path,Summary"
_EOL = "\r\n"

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t")
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_ID = re.compile(r"[a-z]+-[a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{14,16}")

_METHODS = {"POST": "Create", "PUT": "Update", "PATCH": "Update", "DELETE": "Delete"}
_VERBS = {
    "abort",
    "accept",
    "activate",
    "approve",
    "archive",
    "cancel",
    "deactivate",
    "delegate",
    "export",
    "import",
    "ping",
    "reject",
    "restore",
}
_NOUNS = {"pats": "personal access token", "apps": "application", "orgs": "organisation"}
_PREFIXES = {"auth"}


def _cell(text: str) -> str:
    if text.startswith(_FORMULA):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def row(entry: Entry) -> str:
    """One entry as a line without its end."""
    if isinstance(entry, Action):
        cells = [entry.user_id, entry.username, entry.credential.uuid, entry.path, summary(entry.method, entry.path)]
    elif isinstance(entry, Signature):
        outcome = "Signed" if entry.failure is None else "Failed to sign"
        cells = ["", "", "", "", f"{outcome} {entry.signature_id} with key {entry.key_id}."]
    else:
        cells = [entry.user_id or "", entry.username or "", "", "", f"{_words(entry.event)} (by the server)."]
    return ",".join(_cell(cell) for cell in (entry.date_performed, entry.id, *cells))


def document(rows: Sequence[str], truncated: bool) -> str:
    """Header and rows; the last line says if rows are missing."""
    lines = [HEADER, *rows]
    if truncated:
        lines.append(f"# TRUNCATED: only the first {len(rows)} rows; ask for a shorter time.")
    return _EOL.join(lines) + _EOL


def to_csv(entries: Iterable[Entry], truncated: bool) -> str:
    """The whole document for ``entries`` in the order given."""
    return document([row(entry) for entry in entries], truncated)


def summary(method: str, path: str) -> str:
    """A sentence for an operation, such as "Create wallet." or "Deactivate service account."."""
    words = [part for part in path.strip("/").split("/") if part not in _PREFIXES]
    named = [part for part in words if not _ID.fullmatch(part)]
    if not named:
        return f"{_METHODS.get(method, method)}."
    *before, last = named
    if last in _VERBS and before:
        return f"{last.capitalize()} {_noun(before[-1])}."
    return f"{_METHODS.get(method, method)} {_noun(last)}."


def _noun(segment: str) -> str:
    if segment in _NOUNS:
        return _NOUNS[segment]
    words = segment.replace("-", " ")
    if words.endswith("ies"):
        return words[:-3] + "y"
    if words.endswith("sses"):
        return words[:-2]
    return words[:-1] if words.endswith("s") and not words.endswith("ss") else words


def _words(event: str) -> str:
    """``CheckpointKeyHandedOver`` as "Checkpoint key handed over"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event).capitalize()
