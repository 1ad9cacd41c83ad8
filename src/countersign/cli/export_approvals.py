"""Exports that others have to approve, from the customer's side: the file that names one, the waiting, the approval."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from countersign.cli.common import printable
from countersign.cli.customer import Customer, Refused, read_answer
from countersign.encoding import base64url, strictjson
from countersign.keys.export_approvals import fingerprint

_NEEDED: Final = "EXPORT_NEEDS_APPROVAL"
_SECONDS_BETWEEN: Final = 2
_MAX_FILE: Final = 64 * 1024


class _Given(msgspec.Struct, frozen=True, rename="camel"):
    user_id: str
    request_hash: str


class _Approvals(msgspec.Struct, frozen=True, rename="camel"):
    """What a server says of the approvals that an export takes."""

    items: list[_Given]
    approvers: list[str]
    quorum: int


class _Approved(msgspec.Struct, frozen=True, rename="camel"):
    date_expires: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """An export that somebody is to approve: the key, and the very body of the request."""

    key_id: str
    body: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Of the encryption key that the shares are to be encrypted to."""
        return fingerprint(base64url.decode_tolerant(self.body["encryptionKey"]))


def read(path: Path) -> Wanted:
    """What a file names. Raises ``Refused`` for any other file."""
    try:
        with path.open("rb") as file:
            document = strictjson.parse_object(file.read(_MAX_FILE))
        wanted = Wanted(document["keyId"], document["body"])
        known = isinstance(wanted.key_id, str) and wanted.key_id.replace("-", "").isalnum() and bool(wanted.fingerprint)
    except (OSError, strictjson.BadJson, ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise Refused(f"{path} names no export that waits for approvals")
    return wanted


def approve(customer: Customer, wanted: Wanted) -> str:
    """Sign and send the approval; until when it counts."""
    answer = customer.signed("POST", f"/keys/{wanted.key_id}/export/approvals", wanted.body)
    return read_answer(answer, _Approved).date_expires


def export(customer: Customer, key_id: str, body: dict[str, Any], request: Path) -> Any:
    """Ask for the export; where it takes approvals, write ``request``, say what is to do, and wait for them."""
    path = f"/keys/{key_id}/export"
    try:
        return customer.signed("POST", path, body)
    except Refused as error:
        if error.code != _NEEDED:
            raise
    wanted = Wanted(key_id, body)
    try:
        with request.open("x") as file:
            json.dump({"keyId": key_id, "body": body}, file, indent=2)
    except OSError as error:
        raise Refused(f"the export waits for approvals, and {request} cannot be written: {error.strerror}") from None
    try:
        _wait(customer, wanted, request)
        while True:
            # One that went through unheard has used the approvals up, so that the next is refused: it ends.
            try:
                return customer.signed("POST", path, body)
            except Refused as error:
                if not error.passing:
                    raise
            time.sleep(_SECONDS_BETWEEN)
    finally:
        request.unlink(missing_ok=True)


def _wait(customer: Customer, wanted: Wanted, request: Path) -> None:
    hashed = hashlib.sha256(strictjson.canonical(wanted.body)).hexdigest()
    told = False
    while True:
        try:
            listed = read_answer(customer.get(f"/keys/{wanted.key_id}/export/approvals"), _Approvals)
        except Refused as error:
            # A server that is started anew meanwhile, or has too much to do, is no reason to begin again.
            if not (told and error.passing):
                raise
            time.sleep(_SECONDS_BETWEEN)
            continue
        if len({each.user_id for each in listed.items if each.request_hash == hashed}) >= listed.quorum:
            return
        if not told:
            told = True
            approvers = printable(", ".join(listed.approvers))
            click.echo(
                f"This export takes the approval of {listed.quorum} of {approvers}, yours not counted. Give them "
                f"{request} (it holds no secret), and by another way the fingerprint\n"
                f"  {wanted.fingerprint}\n"
                f"Each of them runs: countersign keys approve-export {request.name}\n"
                "Waiting for them. The decryption key is in this process alone: stopped, it has to begin again.",
                err=True,
            )
        time.sleep(_SECONDS_BETWEEN)
