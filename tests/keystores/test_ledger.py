"""The signer's file: what a crash may leave of it, and what nobody may do to it."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from countersign.keystores import ledger
from countersign.keystores.ledger import Ledger, open_file
from countersign.keystores.outcome import Refusal

BODIES = [b"one", b"second record", b"3" * 300]
ROOTS = {1: b"a" * 32, 2: b"b" * 32}


def tag(version: int, head: bytes) -> bytes | None:
    root = ROOTS.get(version)
    return None if root is None else hmac.digest(root, head, "sha256")


def only(*versions: int) -> ledger.Tag:
    return lambda version, head: tag(version, head) if version in versions else None


def read(path: Path, tags: ledger.Tag = tag) -> tuple[list[bytes], Ledger, Refusal | None]:
    found: list[bytes] = []
    descriptor = os.open(path, os.O_RDWR)
    opened = Ledger(descriptor)
    refusal = opened.load(tags, lambda body: found.append(body))
    return found, opened, refusal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with three records, and where each ends."""
    directory = tmp_path / "state"
    written = Ledger(open_file(directory))
    assert written.load(tag, lambda body: None) is None
    for body in BODIES:
        with written.exclusive():
            assert written.append(body, 1, tag) is None
    return directory / ledger.FILE_NAME


def ends() -> list[int]:
    found, position = [], len(ledger.MAGIC)
    for body in BODIES:
        position += 8 + len(body) + 32
        found.append(position)
    return found


def test_what_was_written_is_read_again(path: Path) -> None:
    found, opened, refusal = read(path)
    assert (found, opened.count, refusal) == (BODIES, 3, None)
    assert path.stat().st_size == ends()[-1]


def test_a_write_torn_at_any_byte_loses_that_record_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # five hundred of them
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found, opened, refusal = read(path)
        kept = sum(1 for end in ends() if end <= size)
        assert (found, refusal) == (BODIES[:kept], None), size
        # And the next record stands where the torn one began.
        with opened.exclusive():
            assert opened.append(b"next", 1, tag) is None
        assert read(path)[0] == [*BODIES[:kept], b"next"], size


def test_a_file_that_grew_before_its_content_came_loses_that_record_alone(path: Path) -> None:
    whole = path.read_bytes()
    for size in (*range(ends()[1], ends()[1] + 8), len(whole) - 32):
        zeros = bytes(len(whole) - size)
        if size > ends()[1] and any(whole[ends()[1] : size]) and size < len(whole) - 32:
            continue  # half a header: a length that nobody wrote
        path.write_bytes(whole[:size] + zeros)
        found, _, refusal = read(path)
        assert (found, refusal) == (BODIES[:2], None), size


def test_a_changed_byte_anywhere_is_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    whole = bytearray(path.read_bytes())
    for position in range(len(whole)):
        changed = whole.copy()
        changed[position] ^= 1
        path.write_bytes(changed)
        found, _, refusal = read(path)
        # A longer length in a header may make the rest look unfinished; then nothing of it is believed.
        assert isinstance(refusal, Refusal) or len(found) < 3, position
        assert found == BODIES[: len(found)]


def test_records_left_out_swapped_or_of_another_file_are_damage(path: Path) -> None:
    whole, (first, second, third) = path.read_bytes(), ends()
    start = len(ledger.MAGIC)
    a, b, c = whole[start:first], whole[first:second], whole[second:third]
    for mixed in (b + c, a + c, b + a + c, a + b + b + c):
        path.write_bytes(ledger.MAGIC + mixed)
        assert isinstance(read(path)[2], Refusal)
    path.write_bytes(b"something else entirely")
    assert isinstance(read(path)[2], Refusal)


def test_the_newest_root_stands_for_the_records_before_it(path: Path) -> None:
    _, opened, _ = read(path)
    with opened.exclusive():
        assert opened.append(b"under the next root", 2, tag) is None
    assert read(path, only(2))[2] is None
    old_alone = read(path, only(1))[2]
    assert old_alone is not None
    assert "needs store root 2" in old_alone.reason
    whole = bytearray(path.read_bytes())
    whole[len(ledger.MAGIC) + 8] ^= 1
    path.write_bytes(whole)
    assert isinstance(read(path, only(2))[2], Refusal)


def test_another_process_of_the_signer_reads_what_was_appended(path: Path) -> None:
    found, opened, _ = read(path)
    _, other, _ = read(path)
    with other.exclusive():
        other.append(b"by the other", 1, tag)
    assert opened.refresh(tag, lambda body: found.append(body)) is None
    assert found == [*BODIES, b"by the other"]
    assert opened.head == other.head


def test_a_full_disk_leaves_no_part_of_a_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, opened, _ = read(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with opened.exclusive():
            refusal = opened.append(b"more", 1, tag)
    assert refusal == Refusal("Unavailable", "the signer's roster can't be written: No space left on device")
    assert path.read_bytes() == before
    with opened.exclusive():
        assert opened.append(b"more", 1, tag) is None
    assert read(path)[0][-1] == b"more"


def test_the_chain_is_as_documented(path: Path) -> None:
    head = hashlib.sha256(ledger.MAGIC).digest()
    for body in BODIES:
        head = hashlib.sha256(head + len(body).to_bytes(4, "big") + (1).to_bytes(4, "big") + body).digest()
    assert read(path)[1].head == head
    assert path.read_bytes()[-32:] == hmac.digest(ROOTS[1], head, "sha256")


def test_a_state_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ValueError, match="closed to others"):
        open_file(tmp_path)


@pytest.mark.parametrize("size", [0, 64 * 1024 + 1])
def test_a_record_that_could_not_be_read_again_is_not_written(path: Path, size: int) -> None:
    _, opened, _ = read(path)
    before = path.read_bytes()
    for written in (opened, Ledger(None)):
        with written.exclusive():
            refusal = written.append(b"x" * size, 1, tag)
        assert isinstance(refusal, Refusal)
        assert refusal.code == "Denied"
    assert path.read_bytes() == before
    with opened.exclusive():
        assert opened.append(b"x" * 64 * 1024, 1, tag) is None
    assert read(path)[2] is None


def test_what_somebody_else_appended_without_the_root_is_damage_from_then_on(path: Path) -> None:
    _, opened, _ = read(path)
    forged = b"forged"
    with path.open("ab") as file:
        file.write(len(forged).to_bytes(4, "big") + (9).to_bytes(4, "big") + forged + b"t" * 32)
    for _ in range(2):
        refusal = opened.refresh(tag, lambda body: None)
        assert isinstance(refusal, Refusal)
        assert refusal.code == "Integrity"
