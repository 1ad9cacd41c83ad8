"""What an organisation allows its keys beyond signing: to come in, to go out, and to sign when they have gone out.

All of it is off until the operator says otherwise, on the server's own host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from countersign.api import ApiError
from countersign.identity.administration import organisations
from countersign.identity.local_commands import Impossible, tell
from countersign.keys import store
from countersign.keys.rows import StoredKey
from countersign.storage import Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Members as the columns of the table ``organisations``."""

    key_import: bool
    key_export: bool
    sign_after_export: bool


#: What the audit log and the command line call them.
NAMES: Mapping[str, str] = {
    "key_import": "import",
    "key_export": "export",
    "sign_after_export": "sign after export",
}


def read(org_id: str) -> Transaction[KeySettings]:
    """Those of one organisation."""
    rows = yield store.KEY_SETTINGS, (org_id,)
    return KeySettings(*(bool(value) for value in rows[0]))


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


def change(org_id: str | None, changes: Mapping[str, bool], world: World) -> Transaction[tuple[str, KeySettings]]:
    """Set some of them for an organisation, by default the only one there is; what they are then.

    Raises ``Impossible``. An entry of the audit log says what was changed; without a change there is none.
    """
    known = yield from organisations()
    if org_id is None and len(known) != 1:
        raise Impossible(f"there are {len(known)} organisations: name one with --org")
    chosen = known[0] if org_id is None else org_id
    if chosen not in known:
        raise Impossible(f"there is no organisation {chosen!r}")
    before = yield from read(chosen)
    changed = {name: value for name, value in changes.items() if getattr(before, name) != value}
    if not changed:
        return chosen, before
    after = KeySettings(**{name: changed.get(name, getattr(before, name)) for name in NAMES})
    yield store.SET_KEY_SETTINGS, (int(after.key_import), int(after.key_export), int(after.sign_after_export), chosen)
    details = {NAMES[name]: "on" if value else "off" for name, value in changed.items()}
    yield from tell(chosen, "KeySettingsChanged", (chosen,), details, world)
    return chosen, after
