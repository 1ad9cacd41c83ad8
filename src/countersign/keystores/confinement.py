"""What the signer gives up once it listens: starting programs, reaching others, opening files.

Two mechanisms of Linux, both optional (extra ``hardening``): a filter of system calls (seccomp, through libseccomp) and
Landlock, which closes the file system. Where one is missing the signer runs without it and says so in its health notes.
They hold what runs in this process, not who has taken over the kernel; descriptors that are open already stay usable.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import pkgutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_EXTRA: Final = "install the extra: pip install countersign[hardening]"
_CLONE_THREAD: Final = 0x0001_0000

_NEVER: Final = (
    # other programs and processes
    *("execve", "execveat", "setns", "unshare"),
    # the memory and descriptors of others
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "userfaultfd"),
    # the kernel
    *(
        "bpf",
        "perf_event_open",
        "personality",
        "syslog",
        "keyctl",
        "add_key",
        "request_key",
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
    ),
    *("kexec_file_load", "open_by_handle_at", "name_to_handle_at"),
    # the tree of files
    *("mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "pivot_root", "chroot"),
)
_FORK: Final = ("fork", "vfork")
# It would carry out calls past the filter.
_IO_URING: Final = ("io_uring_setup", "io_uring_enter", "io_uring_register")
# Not socketpair: it reaches nobody, and the event loop makes one to end in order.
_NETWORK: Final = ("socket", "connect")

# Imported when first used by those who use them, which is too late once no file can be opened.
_USED_LATER: Final = ("linecache", "traceback", "gmpy2", "pyrage")
_USED_LATER_WHOLE: Final = ("cryptography.hazmat.primitives",)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a signer can't give up. ``files``: to be opened for reading later.

    ``network``: connections, and reading files (certificates, tokens, the client library's own).
    ``processes``: forks of its own, but no other program. ``driver``: a foreign library that may connect, read and
    write, such as a PKCS#11 module; its unit has to confine it.
    """

    files: tuple[Path, ...] = ()
    network: bool = False
    processes: bool = False
    driver: bool = False


def confine(needs: Needs) -> list[str]:
    """Apply both to this process, for good; gives a note for each protection that is missing or was left out.

    Called after the last import, when the listening socket, the event loop and all files for writing are open, and
    before any other thread is.
    """
    preload()
    notes = [*_filter_system_calls(needs), *_close_files(needs)]
    if needs.driver:
        notes.append("the key store's own library may use files and network: confine it by the service unit")
    elif needs.network:
        notes.append("the key-encryption key comes over the network: connecting and reading files stay allowed")
    return notes


def preload() -> None:
    """Import what is imported late, and read what the C library reads late."""
    time.localtime()
    for name in _USED_LATER:
        with contextlib.suppress(ImportError):  # an extra that is not installed is not used either
            importlib.import_module(name)
    for name in _USED_LATER_WHOLE:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)


def refuse_io_uring() -> None:
    """Take away io_uring before an event loop begins to use it: libuv ends the process when it is taken away later.

    It is the one thing that has to be refused so early; ``confine`` notes a missing filter.
    """
    _filter(_IO_URING)


def _filter_system_calls(needs: Needs) -> list[str]:
    names = (*_NEVER, *_IO_URING, *(() if needs.processes else _FORK))
    names += () if needs.network or needs.driver else _NETWORK
    # A thread is fine, a process is not.
    return _filter(names, threads_only=not needs.processes)


def _filter(names: Sequence[str], *, threads_only: bool = False) -> list[str]:
    try:
        seccomp = importlib.import_module("pyseccomp")
    except ImportError:
        return [f"system calls are not filtered ({_EXTRA})"]
    except RuntimeError:  # what it raises without the library that it binds
        return ["system calls are not filtered (install the library libseccomp2)"]
    refused = seccomp.ERRNO(errno.EPERM)
    try:
        calls = seccomp.SyscallFilter(seccomp.ALLOW)
        calls.set_attr(seccomp.Attr.CTL_TSYNC, 1)
        for name in names:
            calls.add_rule(refused, name)
        if threads_only:
            calls.add_rule(refused, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
            # The arguments of clone3 can't be looked at; where it is not implemented, the C library uses clone.
            calls.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
        calls.load()
    except OSError as trouble:
        return [f"system calls are not filtered ({trouble.strerror})"]
    return []


def _close_files(needs: Needs) -> list[str]:
    if needs.driver:
        return []
    try:
        landlock = importlib.import_module("landlock")
    except ImportError:
        return [f"files are not closed to the signer ({_EXTRA})"]
    read = landlock.FSAccess.READ_FILE
    try:
        rules = landlock.Ruleset()
        if needs.network:
            rules.allow("/", rules=read | landlock.FSAccess.READ_DIR)
        for path in _openable(needs.files):
            rules.allow(path, rules=read)
        rules.apply()
        os.close(rules._fd)  # the package leaves it open
    except (OSError, landlock.LandlockError) as trouble:
        return [f"files are not closed to the signer (no Landlock: {str(trouble).splitlines()[0]})"]
    return []


def _openable(files: Sequence[Path]) -> list[Path]:
    """A file by itself; one that is not there yet, by the directory that it will appear in."""
    found: list[Path] = []
    for file in files:
        if file.exists():
            found.append(file)
        elif file.parent.is_dir():
            found.append(file.parent)
    return found
