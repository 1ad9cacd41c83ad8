"""Files that only their owner reads, there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from countersign.private_files import new_file, sync_directory, whole, write_new, write_whole


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """What is closed to others is so by itself."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_written_by_several_at_once_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "server.secret"
    contents = [bytes([number]) * 200_000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(path, content), contents))
    assert path.read_bytes() in contents
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_whole_file_appears_under_its_name_when_it_is_complete_and_is_closed_to_others_from_the_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "export"
    with whole(path) as file:
        file.write(b"one")
        (part,) = tmp_path.iterdir()
        assert part != path
        assert mode(part) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert (path.read_bytes(), mode(path)) == (b"one", 0o600)


def test_a_whole_file_that_ends_early_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), whole(path) as file:
        raise KeyboardInterrupt(file.write(b"half"))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"before"


def test_a_whole_file_takes_the_place_of_a_link_and_leaves_what_that_leads_to(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "export", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"of somebody else")
    path.symlink_to(elsewhere)
    write_whole(path, b"one")
    assert (path.read_bytes(), path.is_symlink(), mode(path)) == (b"one", False, 0o600)
    assert elsewhere.read_bytes() == b"of somebody else"


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_whole_file_that_may_replace_none_leaves_what_appeared_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    def none(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not hard_links:
        monkeypatch.setattr(os, "link", none)
    path = tmp_path / "backup"
    with pytest.raises(FileExistsError), whole(path, replace=False):
        path.symlink_to(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_symlink()
    path.unlink()
    with whole(path, replace=False) as file:
        file.write(b"one")
    assert list(tmp_path.iterdir()) == [path]
    assert (path.read_bytes(), mode(path)) == (b"one", 0o600)


def test_a_new_file_is_there_before_the_work_and_holds_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with new_file(path) as write:
        assert mode(path) == 0o600
        write(b"one, ")
        write(bytearray(b"two"))
        assert path.read_bytes() == b"one, two"
    assert (path.read_bytes(), mode(path)) == (b"one, two", 0o600)


def test_a_new_file_replaces_nothing_and_follows_no_link(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"before")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for taken in (path, link):
        with pytest.raises(FileExistsError):
            write_new(taken, b"one")
    assert path.read_bytes() == b"before"
    assert sorted(tmp_path.iterdir()) == [path, link]


@pytest.mark.parametrize("kept", [False, True])
def test_a_new_file_whose_work_ends_early_is_gone_again_unless_it_is_to_be_kept(tmp_path: Path, kept: bool) -> None:
    path = tmp_path / "transcript"
    with pytest.raises(KeyboardInterrupt), new_file(path, kept=kept) as write:
        raise KeyboardInterrupt(write(b"one"))
    assert list(tmp_path.iterdir()) == ([path] if kept else [])


def test_a_new_file_that_the_disk_takes_in_part_is_a_failure_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    # In a process of its own: the limit counts for whatever else writes.
    script = f"""
import pathlib, resource
from countersign.private_files import write_new
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
write_new(pathlib.Path({str(path)!r}), bytes(32))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "File too large" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_synced_is_no_failure_and_a_broken_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = errno.EINVAL

    def fsync(_: int) -> None:
        raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr(os, "fsync", fsync)
    sync_directory(tmp_path)
    trouble = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        sync_directory(tmp_path)
