"""What is mutated: valid messages, what the server makes of one, and what it may make of one at most."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.credentials.public_key import PublicKey, load
from tests.fuzz.mutations import Codec
from tests.fuzz.readers import fingerprint_of
from tests.support.authenticator import published_key


@dataclass(frozen=True)
class Case:
    """One valid message.

    ``accept`` is the server's code: what it takes the message for, ``None`` when it refuses. ``allowed`` reads it
    without that code: what the message may be taken for, ``None`` (or ``ValueError``) when for nothing, because it
    does not mean what ``message`` means and nobody entitled has said it.
    """

    message: bytes
    accept: Callable[[bytes], Hashable | None]
    allowed: Callable[[bytes], Hashable | None]


@dataclass(frozen=True)
class Subject:
    """Messages of one kind. ``weight``: its share of all mutations, against the others'."""

    name: str
    codec: Codec[bytes]
    cases: Sequence[Case]
    weight: float = 1.0


class Breach(AssertionError):
    """A mutated message did what it must not."""


@dataclass
class Tally:
    """What became of the mutations. ``same``: accepted, and rightly, because it means the same."""

    seed: int
    total: int
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    told: int = 0

    def add(self, name: str, outcome: str) -> None:
        """Count one, and say now and then how far it is."""
        self.counts.setdefault(name, Counter())[outcome] += 1
        done = sum(counter.total() for counter in self.counts.values())
        if done * 20 // self.total > self.told:
            self.told = done * 20 // self.total
            rate = done / max(time.monotonic() - self.begun, 1e-3)
            print(f"{done:,} of {self.total:,} ({name}), {rate:,.0f} a second, seed {self.seed}", flush=True)

    def table(self) -> str:
        """The counts of each subject."""
        lines = [f"{'':44}{'refused':>9}{'the same':>10}"]
        for name, counter in self.counts.items():
            lines.append(f"{name:44}{counter['refused']:>9,}{counter['same']:>10,}")
        return "\n".join(lines)


def check_originals(subject: Subject) -> None:
    """Every unchanged message is accepted, and both readers agree on it."""
    for number, case in enumerate(subject.cases):
        taken = case.accept(case.message)
        if taken is None or taken != case.allowed(case.message):
            raise AssertionError(f"{subject.name}: valid message {number} is taken for {taken!r}")


def mutate(subject: Subject, count: int, tally: Tally) -> None:
    """Mutate the subject's messages ``count`` times; raises :class:`Breach`."""
    for number in range(count):
        # Each mutation has a generator of its own, so that one can be made again alone.
        rng = Random(f"{tally.seed} {subject.name} {number}")
        case, other = rng.choice(subject.cases), rng.choice(subject.cases)
        message = case.message
        while message == case.message:
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                message = subject.codec.mutate(rng, message, other.message)
        tally.add(subject.name, judge(case, message, f"{subject.name}, mutation {number}, seed {tally.seed}"))


def judge(case: Case, message: bytes, what: str) -> str:
    """``refused`` or ``same``; raises :class:`Breach`."""
    try:
        taken = case.accept(message)
    except Exception as error:
        raise Breach(f"{what}: {type(error).__name__}: {error}\n{message!r}") from error
    if taken is None:
        return "refused"
    try:
        allowed = case.allowed(message)
    except ValueError as error:
        raise Breach(f"{what}: accepted, and not readable ({error})\n{message!r}") from error
    if taken != allowed:
        raise Breach(f"{what}: taken for {taken!r}, is {allowed!r}\n{message!r}\nmade from\n{case.message!r}")
    return "same"


def split(total: int, weights: Sequence[float]) -> list[int]:
    """Whole shares of ``total`` by weight; together they are ``total``."""
    counts = [int(total * weight / sum(weights)) for weight in weights]
    counts[0] += total - sum(counts)
    return counts


def compact(value: Any) -> bytes:
    """JSON as most clients write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@cache
def private_key(name: str) -> Any:
    """A published key; reading one takes longer than what is done with it."""
    return published_key(name)


@cache
def public_key(name: str) -> PublicKey:
    """The public half of a published key, as the server loads it."""
    key = load(pem_of(name))
    assert isinstance(key, PublicKey)
    assert key.fingerprint == fingerprint_of(private_key(name).public_key())
    return key


def pem_of(name: str) -> str:
    """The same as PEM."""
    return private_key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
