"""Where secrets live while they are used: one locked page, kept out of core dumps, swap and child processes.

Immutable ``bytes`` can't be wiped, so root keys, wrapping keys and opened private keys are decrypted straight into
this page, used from it, and overwritten. The limits are honest: a root key's first random bytes and a message pass
through ordinary objects, the interpreter may copy, and root on the host reads everything.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
import os
import resource
import sys
from typing import Final

MAX_ROOTS: Final = 64
ROOT_BYTES: Final = 32

_PAGE: Final = 4096
_WRAPPING: Final = slice(2048, 2080)
_SECRET: Final = slice(2112, 2144)
_SECRET_PAIR: Final = slice(2112, 2176)
_SECRET_AREA: Final = slice(2112, 2208)
_KEYPAIR: Final = slice(2208, 2304)
_SCRATCH: Final = slice(2304, _PAGE)

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_PDEATHSIG: Final = 1
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4

_libc = ctypes.CDLL(None, use_errno=True)


def wipe(buffer: memoryview | bytearray) -> None:
    """Overwrite with zeros, by a call the interpreter can't leave out."""
    if len(buffer):
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), 0, len(buffer))


def fill_random(buffer: memoryview | bytearray) -> None:
    """Fill from the kernel's generator without a Python object in between (getrandom(2))."""
    target = ctypes.c_char.from_buffer(buffer)
    if _libc.getrandom(ctypes.byref(target), ctypes.c_size_t(len(buffer)), 0) != len(buffer):
        raise OSError(ctypes.get_errno(), "getrandom gave too few bytes")


class SharedRoots:
    """A page of store root keys that a process shares with those it forks: what one writes or wipes, all have."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _PAGE)
        self.view = memoryview(self._map)[: MAX_ROOTS * ROOT_BYTES]
        self.notes = [*self.lock(), *_advise(self._map, "MADV_DONTDUMP", "core dumps")]

    def lock(self) -> list[str]:
        """Lock it for this process, as a forked one has to again; a note if that is refused."""
        return _lock(self._map)


class LockedPage:
    """One page of memory with fixed places; ``notes`` names the protections the host refused.

    With ``roots`` the store root keys lie there instead, see ``SharedRoots``.
    """

    def __init__(self, roots: memoryview | None = None) -> None:
        self._map = mmap.mmap(-1, _PAGE)
        self.notes = _lock(self._map)
        self.notes += _advise(self._map, "MADV_DONTDUMP", "core dumps")
        self.notes += _advise(self._map, "MADV_DONTFORK", "child processes")
        view = memoryview(self._map)
        self._roots = view if roots is None else roots
        self.wrapping = view[_WRAPPING]
        """32 bytes: the wrapping key of the record in use."""
        self.secret = view[_SECRET]
        """32 bytes: the private key in use, or its scalar if there is more to it."""
        self.secret_pair = view[_SECRET_PAIR]
        """64 bytes from the same place: an Ed25519 seed and its public key, libsodium's form of a secret key."""
        self.secret_area = view[_SECRET_AREA]
        """96 bytes from the same place: the whole of the longest kind of secret."""
        self.keypair = view[_KEYPAIR]
        """96 bytes: libsecp256k1's keypair, an Ed25519 nonce, or other secrets of one step."""
        self.scratch = view[_SCRATCH]
        """1792 bytes: the opened content of a root blob."""
        self._view = view
        work = view[MAX_ROOTS * ROOT_BYTES :]
        # Kept, because it is wiped after each order.
        self._work = ctypes.addressof(ctypes.c_char.from_buffer(work)), len(work)

    def root(self, slot: int) -> memoryview:
        """32 bytes: the store root key in that slot, 0 to ``MAX_ROOTS - 1``."""
        return self._roots[slot * ROOT_BYTES : (slot + 1) * ROOT_BYTES]

    def wipe_work(self) -> None:
        """Overwrite everything but the store root keys."""
        address, length = self._work
        ctypes.memset(address, 0, length)

    def wipe_all(self) -> None:
        """Overwrite the whole page, and roots that are shared."""
        wipe(self._roots)
        wipe(self._view)


def _lock(page: mmap.mmap) -> list[str]:
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if _libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(_PAGE)) != 0:
        return ["key page is not locked in memory (mlock refused)"]
    return []


def _advise(page: mmap.mmap, advice: str, what: str) -> list[str]:
    try:
        page.madvise(getattr(mmap, advice))
    except (AttributeError, OSError):
        return [f"key page is not kept out of {what} ({advice} refused)"]
    return []


def keep_out_of_dumps() -> list[str]:
    """No core dumps, and no ptrace by the same user (not dumpable); a note where that is refused.

    For commands that hold a secret for a moment; a process that serves does all of ``harden_process``.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return ["process protections need Linux"]
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        return ["process can be dumped and traced by its own user (PR_SET_DUMPABLE refused)"]
    return []


def harden_process() -> list[str]:
    """Close the ways by which another process could read this one; gives a note for each that stayed open.

    No core dumps, no ptrace by the same user (not dumpable), no privileges gained by exec, memory locked as far as the
    limit allows.
    """
    notes = keep_out_of_dumps()
    if not sys.platform.startswith("linux"):
        return notes
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        notes.append("PR_SET_NO_NEW_PRIVS refused")
    if not _lock_all_memory():
        notes.append("memory beside the key page may be swapped (set LimitMEMLOCK=infinity)")
    return notes


def die_with_parent(signal_number: int, parent: int) -> None:
    """Ask the kernel for ``signal_number`` when the process ``parent`` ends (prctl(2), PR_SET_PDEATHSIG).

    Raises ``OSError`` when it has ended already: who starts a process may be killed before that one asks.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0 or os.getppid() != parent:
        raise OSError(ctypes.get_errno(), "the parent process is gone or can't be watched")


def _lock_all_memory() -> bool:
    # Under a finite limit MCL_FUTURE would make ordinary allocations fail later, so it is all or nothing.
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY:
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (ValueError, OSError):
            return False
    # ONFAULT: pages are locked once touched, so untouched library code costs no memory.
    return bool(_libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)
