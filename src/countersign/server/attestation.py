"""The attestation policy of the settings: which makers' authenticators are let in."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from countersign.credentials.fido2_registration import FORMATS, AttestationPolicy
from countersign.server.settings import BadSettings, Settings


def attestation_policy(settings: Settings) -> AttestationPolicy | None:
    """Read the trust anchors; ``None`` when the settings name none. Raises :class:`BadSettings`."""
    if not settings.attestation_anchors:
        if settings.attestation_models:
            raise BadSettings("attestation_models needs attestation_anchors: a model is believed to its maker only")
        return None
    root = Path(settings.attestation_anchors)
    try:
        folders = {path.name: path for path in root.iterdir() if path.is_dir()}
        unknown = folders.keys() - set(FORMATS)
        if unknown:
            raise BadSettings(f"attestation_anchors: {sorted(unknown)[0]} is no format of attestations")
        anchors = {
            name: tuple(file.read_text(encoding="ascii") for file in sorted(path.glob("*.pem")))
            for name, path in folders.items()
        }
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"attestation_anchors: {error}") from None
    if not anchors:
        raise BadSettings("attestation_anchors: the directory names no format, so no passkey could be enrolled")
    try:
        models = frozenset(UUID(text) for text in settings.attestation_models)
    except ValueError:
        raise BadSettings("attestation_models: a model (AAGUID) is written as a UUID") from None
    return AttestationPolicy(anchors, models or None)
