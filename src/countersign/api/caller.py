"""Who calls: the outcome of station 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Epochs:
    """Generation numbers of the rows an identity rests on; any state change raises one."""

    user: int
    token: int
    organisation: int


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated identity and what it may do.

    ``operations`` is ``None`` for every operation (the immutable administrator permission), else the
    resolved names. ``token_kind`` is ``Token`` (a person's session), ``ServiceAccount`` or ``Pat``.
    ``delegated_by``: the service account that opened the session, where the person did not log in.
    """

    org_id: str
    user_id: str
    username: str
    user_kind: str
    is_service_account: bool
    token_id: str
    token_kind: Literal["Token", "ServiceAccount", "Pat"]
    app_id: str | None
    epochs: Epochs
    permission_revision: int
    operations: frozenset[str] | None
    expires_at: int
    delegated_by: str | None = None

    def may(self, operation: str) -> bool:
        """Whether the caller holds ``operation`` (a name of the permission catalogue)."""
        return self.operations is None or operation in self.operations

    @property
    def sees_only_delegated(self) -> bool:
        """End users see nothing but keys and wallets delegated to them; no permission lifts that."""
        return self.user_kind == "EndUser"

    @property
    def label(self) -> str:
        """How messages and logs name the caller."""
        kind = "ServiceAccount" if self.is_service_account else self.user_kind
        return f"{kind} {self.user_id}"
