"""The form of a backup: what goes in comes out, and nothing that was touched comes out at all."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrage import decrypt, x25519

from countersign.backup import archive
from countersign.backup.archive import BadBackup, SavedTable


def written(pieces: list[bytes], *keys: x25519.Identity) -> bytes:
    output = io.BytesIO()
    archive.write(output, [key.to_public() for key in keys], pieces)
    return output.getvalue()


def taken(data: bytes, key: x25519.Identity) -> list[tuple[str, bytes]]:
    members: list[tuple[str, bytes]] = []
    archive.read(io.BytesIO(data), [key], lambda name, content: members.append((name, content)))
    return members


KEY = x25519.Identity.generate()


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,20}/[0-9]{1,6}", fullmatch=True), st.binary(max_size=3000))))
@settings(max_examples=30)
def test_members_come_out_as_they_went_in(members: list[tuple[str, bytes]]) -> None:
    data = written([*(archive.member(name, content, 1) for name, content in members), archive.end()], KEY)
    assert taken(data, KEY) == members


def test_an_ordinary_tar_reads_what_age_decrypts() -> None:
    data = written([archive.member("manifest.json", b"{}", 1_700_000_000), archive.end()], KEY)
    with tarfile.open(fileobj=io.BytesIO(decrypt(data, [KEY]))) as tar:
        (info,) = tar.getmembers()
        assert (info.name, info.size, info.mode, info.mtime) == ("manifest.json", 2, 0o600, 1_700_000_000)


def test_any_of_several_recipients_opens_it() -> None:
    other = x25519.Identity.generate()
    data = written([archive.member("a/1", b"x", 1), archive.end()], KEY, other)
    assert taken(data, KEY) == taken(data, other) == [("a/1", b"x")]


def test_another_identity_opens_nothing() -> None:
    data = written([archive.end()], KEY)
    with pytest.raises(BadBackup, match="not one that the backup was made for"):
        taken(data, x25519.Identity.generate())


def test_a_cut_or_changed_backup_is_refused() -> None:
    content = bytes(range(256)) * 800
    data = written([archive.member("a/1", content, 1), archive.end()], KEY)
    for changed in (data[:-1], data[: len(data) // 2], data[:-200] + bytes([data[-200] ^ 1]) + data[-199:], b""):
        with pytest.raises(BadBackup):
            taken(changed, KEY)


def test_a_backup_without_its_end_is_refused() -> None:
    with pytest.raises(BadBackup, match="cut short"):
        taken(written([archive.member("a/1", b"x", 1)], KEY), KEY)


def test_what_is_no_tar_is_refused() -> None:
    with pytest.raises(BadBackup):
        taken(written([b"x" * 2048], KEY), KEY)


def test_what_either_end_raises_arrives_as_it_is() -> None:
    def pieces() -> Iterator[bytes]:
        yield archive.member("a/1", b"x", 1)
        raise LookupError("the database went away")

    with pytest.raises(LookupError, match="went away"):
        archive.write(io.BytesIO(), [KEY.to_public()], pieces())

    def take(name: str, content: bytes) -> None:
        raise LookupError(name)

    data = written([archive.member("a/1", b"x", 1), archive.end()], KEY)
    with pytest.raises(LookupError, match="a/1"):
        archive.read(io.BytesIO(data), [KEY], take)


_VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary())


@given(st.lists(st.tuples(st.text(), _VALUES.filter(lambda value: not isinstance(value, bytes)), st.binary())))
def test_rows_come_back_with_their_types(rows: list[tuple[object, ...]]) -> None:
    table = SavedTable("t", ("a", "b", "c"), (2,))
    assert [tuple(row) for row in archive.decode_rows(archive.encode_rows(rows), table)] == rows


@pytest.mark.parametrize("line", [b"[1]\n", b'["a", 1, 5]\n', b'["a", 1, "%"]\n', b"{}\n", b"[1.5, 1, null]\n"])
def test_malformed_rows_are_refused(line: bytes) -> None:
    with pytest.raises(BadBackup, match="row of t"):
        archive.decode_rows(line, SavedTable("t", ("a", "b", "c"), (2,)))


def test_identities_are_read_as_age_writes_them() -> None:
    text = f"# created: today\n# public key: {KEY.to_public()}\n{KEY}\n"
    assert [str(key) for key in archive.identities(text)] == [str(KEY)]
    for bad in ("", "# nothing\n", "AGE-SECRET-KEY-1QQ\n"):
        with pytest.raises(ValueError, match="age identity"):
            archive.identities(bad)
    with pytest.raises(ValueError, match="not an age recipient"):
        archive.recipient("age1nonsense")
