"""Keys in and out as shares: what callers can do."""

from __future__ import annotations

from countersign.api import Call, operation
from countersign.keys import export_approvals, transfer
from countersign.keys.service import Keys
from countersign.keys.transfer_types import (
    ExportApproval,
    ExportApprovals,
    ExportedKey,
    ExportKey,
    ImportKey,
    SignerList,
)
from countersign.keys.types import Key


@operation("GET", "/signers", permission="KeyStores:Read")
async def list_signers(call: Call) -> SignerList:
    """List the signers that the shares of an imported key are encrypted to."""
    return await transfer.signer_list(call.service(Keys), call)


@operation("POST", "/keys/import", permission="Keys:Import", signed=True)
async def import_key(call: Call, body: ImportKey) -> Key:
    """Import a key, shared among all signers of `GET /signers`; off until the operator enables it.

    Every signer has exactly one share, and any `minSigners` of them make the key. A share that is wrong in any way,
    or of another key than the rest, is refused.
    """
    return await transfer.import_key(call.service(Keys), call, body)


@operation("POST", "/keys/{keyId}/export", permission="Keys:Export", signed=True)
async def export_key(call: Call, body: ExportKey) -> ExportedKey:
    """Export a key as five shares, any three of which make it; off until the operator enables it.

    The shares are encrypted to `encryptionKey` and can be read by its holder alone. The key signs nothing from then
    on, unless the operator allows it. Where the organisation names export approvers, enough of them have to have
    approved exactly this body before.
    """
    return await transfer.export_key(call.service(Keys), call, call.params["keyId"], body)


@operation(
    "POST",
    "/keys/{keyId}/export/approvals",
    permission="Policies:Evaluations:Vote",
    signed=True,
    user_kinds=("CustomerEmployee",),
)
async def approve_export(call: Call, body: ExportKey) -> ExportApproval:
    """Approve the export of a key that somebody else will ask for with exactly this body.

    For the organisation's export approvers. An approval is good for one export, within 24 hours; another one by the
    same person for the same key takes its place.
    """
    return await export_approvals.approve(call, call.params["keyId"], body)


@operation("GET", "/keys/{keyId}/export/approvals", permission="Keys:Read")
async def list_export_approvals(call: Call) -> ExportApprovals:
    """List the approvals of exports of a key that count and wait for their export."""
    return await call.read(lambda: export_approvals.waiting(call.caller, call.params["keyId"], call.world.now()))
