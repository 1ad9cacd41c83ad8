"""Mutated messages against the functions that verify them: none is taken for what nobody entitled has said.

A mutated message may be accepted only if it means what the valid one means: other white space or padding outside
what is signed, an ECDSA signature's twin, a member that is specified as ignored.
"""

from __future__ import annotations

from tests.fuzz import key_subjects, passkey_subjects, token_subjects
from tests.fuzz.subjects import Tally, check_originals, mutate, split


def test_no_mutated_message_is_accepted(mutations: int, seed: int) -> None:
    subjects = [*key_subjects.subjects(), *passkey_subjects.subjects(), *token_subjects.subjects()]
    tally = Tally(seed, mutations * 9 // 10)
    counts = split(tally.total, [subject.weight for subject in subjects])
    for subject, count in zip(subjects, counts, strict=True):
        check_originals(subject)
        mutate(subject, count, tally)
    print(tally.table())
    assert sum(counter.total() for counter in tally.counts.values()) == tally.total
