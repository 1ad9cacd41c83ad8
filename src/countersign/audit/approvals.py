"""Whether those who let a signature go on are in the log with their decisions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from countersign.audit.entry import Action, Signature
from countersign.audit.report import Broken

_DECISION = re.compile(r"/v2/policy-approvals/([^/]+)/decisions")


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

    def add_action(self, entry: Action, payload: str | None) -> None:
        """Take in an action; any but a decision is passed over."""
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

    def contradictions(self) -> Iterator[Broken]:
        """Signatures that name decisions which nobody made, about something else, or twice of one person."""
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
