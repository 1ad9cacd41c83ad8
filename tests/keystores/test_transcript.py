"""The transcript of a ceremony holds as it was written, and in no other form."""

from __future__ import annotations

import json

import pytest
from nacl.signing import SigningKey

from countersign.encoding import base64url
from countersign.keystores import transcript
from countersign.keystores.transcript import Broken, Held, Participant

PEOPLE = {name: SigningKey.generate() for name in ("alice", "bob", "carol")}


def written(steps: list[tuple[str, dict[str, object]]], people: dict[str, SigningKey] = PEOPLE) -> bytes:
    present = [
        {"name": name, "role": "operator", "publicKey": base64url.encode(bytes(key.verify_key))}
        for name, key in people.items()
    ]
    texts: list[str] = []
    lines = b""
    for step, facts in [(transcript.PARTICIPANTS, {"participants": present}), *steps]:
        texts.append(transcript.write(step, facts, texts, 1_700_000_000_000 + len(texts)))
        signatures = {name: key.sign(texts[-1].encode()).signature for name, key in people.items()}
        lines += transcript.line(texts[-1], signatures)
    return lines


WHOLE = written([("store", {"storeId": "ks-1"}), ("test key", {"publicKey": "02ab"}), ("end", {})])


def test_a_transcript_says_who_was_there_and_what_was_done() -> None:
    held = transcript.verify(WHOLE)
    assert isinstance(held, Held)
    assert [step.step for step in held.steps] == ["participants", "store", "test key", "end"]
    assert held.participants[0] == Participant("alice", "operator", base64url.encode(bytes(PEOPLE["alice"].verify_key)))
    assert held.digest == transcript.digest(json.loads(WHOLE.splitlines()[-1])["entry"])


def test_no_step_can_be_changed_removed_or_moved() -> None:
    lines = WHOLE.splitlines(keepends=True)
    other = written([("store", {"storeId": "ks-2"}), ("test key", {}), ("end", {})]).splitlines(keepends=True)
    for changed in (
        WHOLE.replace(b"ks-1", b"ks-2"),
        b"".join([lines[0], lines[2], lines[3]]),
        b"".join([lines[0], lines[2], lines[1], lines[3]]),
        b"".join(lines[1:]),
        # What the same people signed on another day, at the same place in it.
        b"".join([lines[0], lines[1], other[2], lines[3]]),
        WHOLE + lines[-1],
        WHOLE[:-10],
        b"",
        b"\xff\n",
    ):
        assert isinstance(transcript.verify(changed), Broken)


def test_a_shorter_transcript_holds_but_has_another_digest() -> None:
    shorter = transcript.verify(b"".join(WHOLE.splitlines(keepends=True)[:-1]))
    whole = transcript.verify(WHOLE)
    assert isinstance(shorter, Held)
    assert isinstance(whole, Held)
    assert shorter.digest != whole.digest


@pytest.mark.parametrize("change", ["drop", "stranger", "swap"])
def test_everyone_signs_every_step(change: str) -> None:
    first, *rest = WHOLE.splitlines(keepends=True)
    line = json.loads(rest[0])
    if change == "drop":
        del line["signatures"]["carol"]
    elif change == "stranger":
        line["signatures"]["mallory"] = line["signatures"]["bob"]
    else:
        line["signatures"]["carol"] = line["signatures"]["bob"]
    found = transcript.verify(first + json.dumps(line).encode() + b"\n" + b"".join(rest[1:]))
    assert isinstance(found, Broken)
    assert found.line == 2


def test_what_strangers_write_convinces_nobody_who_knows_the_digest() -> None:
    forged = transcript.verify(written([("store", {"storeId": "ks-1"})], {"alice": SigningKey.generate()}))
    whole = transcript.verify(WHOLE)
    assert isinstance(forged, Held)
    assert isinstance(whole, Held)
    assert forged.digest != whole.digest
