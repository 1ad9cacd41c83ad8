"""The second pass of a verification: each action's evidence against the request that it consents to."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

from countersign.audit import entry, lines
from countersign.audit.entry import Action, Credential, SecondFactor, decode
from countersign.audit.report import Broken
from countersign.consent.action_token import action_id
from countersign.consent.digest import action_digest
from countersign.consent.evidence import Evidence, EvidenceKind, Proven, verify_evidence
from countersign.credentials.fido2_assertion import Fido2Context
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import load
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import dates

#: Longest line that is read, in bytes.
MAX_LINE = 16 << 20
# Starting workers costs about as much as checking this many lines.
_WORTH_WORKERS = 5000
_KINDS: dict[str, EvidenceKind] = {
    "Fido2": "Fido2",
    "Key": "Key",
    "PasswordProtectedKey": "PasswordProtectedKey",
}


@dataclass(slots=True)
class Chunk:
    """``count`` whole lines from byte ``offset`` on; the first is line ``line`` of the file, counted from 1."""

    offset: int
    line: int
    count: int = 0


def check_action(action: Action, payload: str | None) -> str | None:
    """Why the action's evidence doesn't prove that its user consented to this request; ``None`` when it does.

    The digest is recomputed from installation, organisation, user, method, path, query and the payload's
    hash; the challenge in the signed client data must commit to it, the entry's id must follow from the
    challenge (so that one consent is one action), and the credential's signature must hold. ``payload`` is
    the canonical payload, ``None`` when redacted.
    """
    try:
        payload_hash = bytes.fromhex(action.payload_sha256)
        signed_at = dates.from_iso(action.date_signed)
    except ValueError:
        return "a hash or time of the entry is malformed"
    if payload is not None and hashlib.sha256(payload.encode("utf-8")).digest() != payload_hash:
        return "the payload is not the one that was consented to"
    # A question mark with nothing behind it is no query.
    if action.query_signed and action.actual_query.removeprefix("?") != action.query.removeprefix("?"):
        return "the request carried another query than the one that was consented to"
    parts = (action.installation_id, action.org_id, action.user_id, action.method, action.path, action.query)
    digest = action_digest(*parts, payload_hash)
    if digest != action.digest:
        return "the digest is not that of the entry's request"
    first = _check_consent(action.credential, action.evidence, digest)
    if isinstance(first, str):
        return first
    if action.id != action_id(first.challenge.id):
        return "the entry's id is not that of the challenge that was signed"
    if signed_at > first.challenge.exp * 1000:
        return "the challenge was signed after it had expired"
    return None if action.second_factor is None else _check_second_factor(action, action.second_factor, first, digest)


def _check_second_factor(action: Action, factor: SecondFactor, first: Proven, digest: str) -> str | None:
    if factor.credential.uuid == action.credential.uuid:
        return "the second factor is the first one again"
    second = _check_consent(factor.credential, factor.evidence, digest)
    if isinstance(second, str):
        return f"second factor: {second}"
    return None if second.challenge == first.challenge else "the second factor signed another challenge"


def _check_consent(credential: Credential, received: entry.Evidence, digest: str) -> Proven | str:
    public_key = load(credential.public_key)
    if isinstance(public_key, Refused):
        return f"the credential's public key: {public_key.reason}"
    kind = _KINDS.get(credential.kind)
    if kind is None:
        return f"credentials of kind {credential.kind} don't sign actions"
    evidence = Evidence(kind, received.client_data, received.signature, received.authenticator_data, received.algorithm)
    rp_id = credential.relying_party_id
    # Which origins were allowed when this was signed is in no entry; the relying party is what was signed.
    context = None if rp_id is None else Fido2Context(RelyingParty(rp_id, None), backup_eligible=None)
    outcome = verify_evidence(evidence, public_key, digest, context)
    return f"the evidence: {outcome.reason}" if isinstance(outcome, Refused) else outcome


def check_lines(file: BinaryIO, chunk: Chunk) -> Broken | None:
    """Check the actions of a chunk, ``file`` standing at its start; the first defect or ``None``."""
    for number in range(chunk.line, chunk.line + chunk.count):
        line = lines.decode_line(file.readline(MAX_LINE))
        if not isinstance(line, lines.EntryLine | lines.UnsequencedLine):
            continue
        said = decode(line.entry)
        if isinstance(said, Action):
            reason = check_action(said, line.payload)
        else:
            reason = None if line.payload is None else "a payload stands beside an entry that isn't an action"
        if reason is not None:
            position = line.position if isinstance(line, lines.EntryLine) else None
            return Broken(reason, number, position, said.id)
    return None


def _check_chunk(path: Path, chunk: Chunk) -> Broken | None:
    with path.open("rb") as file:
        file.seek(chunk.offset)
        return check_lines(file, chunk)


def check_chunks(
    path: Path, chunks: Sequence[Chunk], processes: int | None, progress: Callable[[int, int], None]
) -> Broken | None:
    """Check all chunks of the file at ``path``; the first defect in the file's order, or ``None``.

    ``processes``: at most so many workers, ``None`` for one a processor; short files are checked right here.
    """
    total = sum(chunk.count for chunk in chunks)
    workers = min(processes or os.cpu_count() or 1, len(chunks))
    if workers < 2 or total < _WORTH_WORKERS:
        return _first(map(_check_chunk, repeat(path), chunks), chunks, total, progress)
    # Spawned, not forked: the caller may have threads (a progress bar), and forking those deadlocks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            return _first(pool.map(_check_chunk, repeat(path), chunks), chunks, total, progress)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _first(
    results: Iterator[Broken | None], chunks: Sequence[Chunk], total: int, progress: Callable[[int, int], None]
) -> Broken | None:
    done = 0
    for chunk, bad in zip(chunks, results, strict=True):
        if bad is not None:
            return bad
        done += chunk.count
        progress(done, total)
    return None
