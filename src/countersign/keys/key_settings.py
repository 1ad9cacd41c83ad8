"""What an organisation allows its keys beyond signing: to come in, to go out, and to sign when they have gone out.

All of it is off until the operator says otherwise, on the server's own host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from countersign.api import ApiError
from countersign.identity.administration import organisation
from countersign.identity.local_commands import Impossible, tell
from countersign.keys import store
from countersign.keys.rows import StoredKey
from countersign.keystores import MAX_APPROVALS
from countersign.storage import Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Members as the columns of the table ``organisations``.

    ``export_approvers``: ids of the people of whom ``export_quorum`` have to approve an export; none and 0 where an
    export waits for nobody.
    """

    key_import: bool
    key_export: bool
    sign_after_export: bool
    export_approvers: tuple[str, ...] = ()
    export_quorum: int = 0


#: What the audit log and the command line call them.
NAMES: Mapping[str, str] = {
    "key_import": "import",
    "key_export": "export",
    "sign_after_export": "sign after export",
    "export_approvers": "export approvers",
    "export_quorum": "export quorum",
}

#: Value of a setting.
Value = bool | int | tuple[str, ...]


def read(org_id: str) -> Transaction[KeySettings]:
    """Those of one organisation."""
    rows = yield store.KEY_SETTINGS, (org_id,)
    key_import, key_export, sign_after_export, approvers, quorum = rows[0]
    switches = (bool(key_import), bool(key_export), bool(sign_after_export))
    return KeySettings(*switches, tuple(approvers.split()), quorum)


def require_import(org_id: str) -> Transaction[None]:
    """403 unless keys may come in."""
    if not (yield from read(org_id)).key_import:
        raise ApiError("KEY_IMPORT_DISABLED")


def require_export(org_id: str) -> Transaction[None]:
    """403 unless keys may go out."""
    if not (yield from read(org_id)).key_export:
        raise ApiError("KEY_EXPORT_DISABLED")


def require_kept(org_id: str, key: StoredKey) -> Transaction[None]:
    """403 for a key that was exported, unless the organisation wants such keys to be used on."""
    if key.exported_at is not None and not (yield from read(org_id)).sign_after_export:
        raise ApiError("KEY_EXPORTED")


def change(org_id: str | None, changes: Mapping[str, Value], world: World) -> Transaction[tuple[str, KeySettings]]:
    """Set some of them for an organisation, by default the only one there is; what they are then.

    Raises ``Impossible``, also for approvers of whom no quorum can come together. An entry of the audit log says what
    was changed; without a change there is none.
    """
    chosen = yield from organisation(org_id)
    before = yield from read(chosen)
    changed = {name: value for name, value in changes.items() if getattr(before, name) != value}
    if not changed:
        return chosen, before
    if "export_approvers" in changed and "export_quorum" not in changes and not before.export_quorum:
        changed["export_quorum"] = 1
    after = replace(before, **changed)  # type: ignore[arg-type]  # names and types are those of the members
    if "export_approvers" in changed or "export_quorum" in changed:
        yield from _check_approvers(chosen, after)
    switches = (int(after.key_import), int(after.key_export), int(after.sign_after_export))
    yield store.SET_KEY_SETTINGS, (*switches, " ".join(after.export_approvers), after.export_quorum, chosen)
    for user_id in sorted(set(before.export_approvers) - set(after.export_approvers)):
        # What they approved does not come back with them.
        yield store.DROP_EXPORT_APPROVALS, (chosen, user_id)
    details = {NAMES[name]: text(value) for name, value in changed.items()}
    yield from tell(chosen, "KeySettingsChanged", (chosen,), details, world)
    return chosen, after


def text(value: Value) -> str:
    """A setting's value for people."""
    if isinstance(value, tuple):
        return " ".join(value) or "none"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _check_approvers(org_id: str, wanted: KeySettings) -> Transaction[None]:
    """``Impossible`` unless every approver is an active employee, and a quorum of them can be reached."""
    approvers, quorum = wanted.export_approvers, wanted.export_quorum
    if len(set(approvers)) < len(approvers):
        raise Impossible("an approver is named twice")
    if len(approvers) > MAX_APPROVALS:
        raise Impossible(f"at most {MAX_APPROVALS} approvers can be named")
    if bool(approvers) != bool(quorum) or not 0 <= quorum <= len(approvers):
        raise Impossible(f"a quorum of {quorum} cannot come together from {len(approvers)} approvers")
    for user_id in approvers:
        if not (yield store.IS_ACTIVE_EMPLOYEE, (org_id, user_id)):
            raise Impossible(f"{user_id!r} is no active employee of {org_id}")
