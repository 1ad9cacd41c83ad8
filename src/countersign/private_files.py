"""Files that only their owner reads (mode 0600), there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """A file that gets its name, on disk, when it is complete: what ends early leaves nothing and changes nothing.

    Until then it is a ``.part`` file beside it, one of each writer's own: of several at once the last counts, and none
    writes into a file that somebody else made beforehand to read along. It takes the place of a file (or link) of that
    name; without ``replace`` it raises ``FileExistsError``, at the end, rather than do that. Raises ``OSError``.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            part.replace(path)
        else:
            _name(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as ``whole`` does, in the place of one before it. Raises ``OSError``."""
    with whole(path) as file:
        file.write(content)


@contextmanager
def new_file(path: Path, *, kept: bool = False) -> Iterator[Callable[[bytes | bytearray], None]]:
    """A file that must not exist, made before the work whose result it takes; gone again where that ends early.

    Gives what writes to it: all of it, without a copy, on disk when that returns. ``kept``: what was written stays
    whatever happens. Raises ``FileExistsError`` (for a link too, wherever it leads) and ``OSError``.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:

        def write(content: bytes | bytearray) -> None:
            rest = memoryview(content)
            # One that fills the disk is written in part, and says so only at the next.
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(descriptor)

        try:
            sync_directory(path.parent)
            yield write
        except BaseException:
            if not kept:
                path.unlink(missing_ok=True)
            raise


def write_new(path: Path, content: bytes | bytearray) -> None:
    """Write a file that must not exist, with a secret that may be wiped afterwards. Raises as ``new_file`` does."""
    with new_file(path) as write:
        write(content)


def sync_directory(path: Path) -> None:
    """Have the names in a directory outlast a crash, as far as it can be had.

    Not where the directory may be written and not read, or its file system has no such thing; nothing is wrong then.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL):
            raise
    finally:
        os.close(descriptor)


def _name(part: Path, path: Path) -> None:
    """Give the whole file its name, without replacing what appeared under it meanwhile."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        # A removable disk may have no hard links; a rename is next best.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        part.rename(path)
