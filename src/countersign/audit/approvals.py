"""Whether those who let a signature or an export go on are in the log with their decisions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from countersign.audit.entry import Action, Signature, System
from countersign.audit.report import Broken

_DECISION = re.compile(r"/v2/policy-approvals/([^/]+)/decisions")
_EXPORT = re.compile(r"/keys/([^/]+)/export(?:/approvals)?")


@dataclass(frozen=True, slots=True)
class _Decision:
    """``value``: as it was consented to, ``None`` when the payload is redacted."""

    approval_id: str
    user_id: str
    value: str | None


@dataclass(slots=True)
class Approvals:
    """Collects decisions, and the signatures that name them; memory for each of both."""

    _decisions: dict[str, _Decision] = field(default_factory=dict)
    _named: list[tuple[Signature, Callable[[str], Broken]]] = field(default_factory=list)
    _of_exports: dict[str, Action] = field(default_factory=dict)
    _exports: list[tuple[System, Callable[[str], Broken]]] = field(default_factory=list)

    def add_action(self, entry: Action, payload: str | None) -> None:
        """Take in an action; any but a decision, an export or the approval of one is passed over."""
        if _EXPORT.fullmatch(entry.path) and (entry.method, entry.response.status) == ("POST", 200):
            self._of_exports[entry.id] = entry
        named = _DECISION.fullmatch(entry.path)
        if named is None or (entry.method, entry.response.status) != ("POST", 200):
            return
        value = None
        if payload is not None:
            try:
                value = str(json.loads(payload).get("value"))
            except (ValueError, AttributeError):
                value = ""
        self._decisions[entry.id] = _Decision(named[1], entry.user_id, value)

    def add_signature(self, entry: Signature, broken: Callable[[str], Broken]) -> None:
        """Take in a signature; ``broken`` makes a finding of it."""
        if entry.approval_id is not None or entry.approvals:
            self._named.append((entry, broken))

    def add_export(self, entry: System, broken: Callable[[str], Broken]) -> None:
        """Take in what tells of an export; ``broken`` as for a signature."""
        if not entry.details.get("approval", "none").startswith("none"):
            self._exports.append((entry, broken))

    def contradictions(self) -> Iterator[Broken]:
        """Signatures and exports with decisions that nobody made, about something else, or twice of one person."""
        for entry, broken in self._named:
            found = [self._decisions.get(action_id) for action_id in entry.approvals]
            known = [
                each
                for each in found
                if each is not None and each.approval_id == entry.approval_id and each.value in ("Approved", None)
            ]
            if len(known) < len(found):
                yield broken("names an approval that nobody gave in this log")
            elif len({each.user_id for each in known}) < len(known):
                yield broken("names two approvals of the same person")
        used: set[str] = set()
        for export, broken in self._exports:
            named = export.details["approval"].split(" ")
            reason = self._unapproved(export, named, used)
            used.update(named)
            if reason is not None:
                yield broken(reason)

    def _unapproved(self, export: System, named: list[str], used: set[str]) -> str | None:
        """Why these actions do not approve the export. Each is of its very body, and good for one."""
        asked = self._of_exports.get(export.details.get("actionId", ""))
        path = f"/keys/{export.details.get('keyId')}/export"
        if asked is None or asked.path != path:
            return "names an action that asks for no export of this key"
        given = [self._of_exports.get(action_id) for action_id in named]
        fitting = [
            one
            for one in given
            if one is not None and (one.path, one.payload_sha256) == (f"{path}/approvals", asked.payload_sha256)
        ]
        if len(fitting) < len(named):
            return "names an approval that nobody gave in this log"
        if len({asked.user_id, *(one.user_id for one in fitting)}) <= len(named):
            return "names two approvals of the same person, or one of whoever asked"
        return "names an approval that another export used" if used & set(named) else None
