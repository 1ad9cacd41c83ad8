"""What a confined process can't do any more, tried in children that apply the very function the signer applies."""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from countersign.keystores import SignOrder
from countersign.keystores.orders import KeyRecord
from tests.keystores.builders import KEY, ORG, evidence, running


def _landlock() -> bool:
    if importlib.util.find_spec("landlock") is None:
        return False
    import landlock

    try:
        return bool(landlock.landlock_abi_version() > 0)
    except OSError:
        return False


FILTERS = importlib.util.find_spec("pyseccomp") is not None and ctypes.util.find_library("seccomp") is not None
CLOSES = _landlock()
filters = pytest.mark.skipif(not FILTERS, reason="needs the extra 'hardening' and libseccomp2")
closes = pytest.mark.skipif(not CLOSES, reason="needs the extra 'hardening' and a kernel with Landlock")

BEFORE = """
import json, os, socket, sys, threading
from pathlib import Path
from countersign.keystores.confinement import Needs, confine
listener = socket.create_server(("127.0.0.1", 0))
taken, ready = socket.socketpair(), open(sys.argv[2], "ab", buffering=0)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
"""
AFTER = """
def attempt(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def thread():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()

print(json.dumps({
    "notes": notes,
    "exec": attempt(lambda: os.execv("/bin/true", ["true"])),
    "fork": attempt(lambda: os.fork() or os._exit(0)),
    "thread": attempt(thread),
    "socket": attempt(lambda: socket.socket(socket.AF_INET)),
    "unix socket": attempt(lambda: socket.socket(socket.AF_UNIX)),
    "connect": attempt(lambda: taken[0].connect("/nowhere")),
    "ptrace": attempt(lambda: call(101, 16, 2**22 + 1, 0, 0)) if os.uname().machine == "x86_64" else "PermissionError",
    "io_uring": attempt(lambda: call(425, 1, 0)),
    "open": attempt(lambda: open("/etc/passwd").close()),
    "open key": attempt(lambda: open(sys.argv[1]).close()),
    "write key": attempt(lambda: open(sys.argv[1], "a").close()),
    "make": attempt(lambda: open(sys.argv[2] + ".new", "w").close()),
    "list": attempt(lambda: os.listdir("/")),
    "write to what is open": attempt(lambda: ready.write(b"more")),
    "talk over what is open": attempt(lambda: (taken[0].send(b"x"), taken[1].recv(1))),
    "accept": "ready" if listener.fileno() > 0 else "",
}))
"""


def confined(tmp_path: Path, needs: str, before: str = "") -> dict[str, str]:
    """What each attempt came to in a process confined with ``needs``."""
    key, state = tmp_path / "kek", tmp_path / "state"
    key.write_bytes(b"k" * 32)
    code = f"{before}{BEFORE}notes = confine({needs})\n{AFTER}"
    run = subprocess.run([sys.executable, "-c", code, str(key), str(state)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    outcome: dict[str, str] = json.loads(run.stdout)
    return outcome


def proc_status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


KEEP_KEY = "Needs(files=(Path(sys.argv[1]),))"


@filters
def test_a_confined_process_starts_nothing_traces_nothing_and_reaches_nobody(tmp_path: Path) -> None:
    outcome = confined(tmp_path, KEEP_KEY)
    refused = ("exec", "fork", "socket", "unix socket", "connect", "ptrace", "io_uring")
    assert {name: outcome[name] for name in refused} == dict.fromkeys(refused, "PermissionError")
    assert outcome["thread"] == "done"
    assert outcome["talk over what is open"] == "done"


@closes
def test_a_confined_process_opens_no_file_but_its_key_and_writes_where_it_already_could(tmp_path: Path) -> None:
    outcome = confined(tmp_path, KEEP_KEY)
    refused = ("open", "write key", "make", "list")
    assert {name: outcome[name] for name in refused} == dict.fromkeys(refused, "PermissionError")
    assert outcome["open key"] == "done"
    assert outcome["write to what is open"] == "done"
    assert (tmp_path / "state").read_bytes() == b"more"
    assert confined(tmp_path, "Needs()")["open key"] == "PermissionError"


@filters
@closes
def test_nothing_is_noted_where_everything_holds(tmp_path: Path) -> None:
    assert confined(tmp_path, KEEP_KEY)["notes"] == []


@filters
@closes
def test_a_key_from_the_network_keeps_connections_and_reading_and_is_noted(tmp_path: Path) -> None:
    outcome = confined(tmp_path, "Needs(network=True)")
    assert (outcome["socket"], outcome["open"], outcome["list"]) == ("done", "done", "done")
    assert (outcome["exec"], outcome["make"]) == ("PermissionError", "PermissionError")
    assert outcome["notes"] == [
        "the key-encryption key comes over the network: connecting and reading files stay allowed"
    ]


@filters
def test_a_foreign_library_keeps_files_and_network_and_is_noted(tmp_path: Path) -> None:
    outcome = confined(tmp_path, "Needs(driver=True)")
    assert (outcome["socket"], outcome["make"], outcome["exec"]) == ("done", "done", "PermissionError")
    assert "confine it by the service unit" in outcome["notes"][0]


@pytest.mark.parametrize(
    ("hidden", "note"),
    [
        ("pyseccomp", "system calls are not filtered (install the extra: pip install countersign[hardening])"),
        ("landlock", "files are not closed to the signer (install the extra: pip install countersign[hardening])"),
    ],
)
def test_a_missing_package_is_noted_and_stops_nothing(tmp_path: Path, hidden: str, note: str) -> None:
    assert note in confined(tmp_path, KEEP_KEY, f"import sys; sys.modules[{hidden!r}] = None")["notes"]


def test_a_missing_library_is_noted_and_stops_nothing(tmp_path: Path) -> None:
    before = "import ctypes.util; ctypes.util.find_library = lambda name: None if name == 'seccomp' else 'libc.so.6'"
    note = "system calls are not filtered (install the library libseccomp2)"
    assert importlib.util.find_spec("pyseccomp") is None or note in confined(tmp_path, KEEP_KEY, before)["notes"]


def test_a_key_file_that_is_not_there_yet_leaves_its_directory_readable(tmp_path: Path) -> None:
    if not CLOSES:
        pytest.skip("needs the extra 'hardening' and a kernel with Landlock")
    outcome = confined(tmp_path, "Needs(files=(Path(sys.argv[1] + '.later'),))")
    assert (outcome["open key"], outcome["make"]) == ("done", "PermissionError")


async def test_the_real_signer_is_confined_and_makes_keys_and_signs() -> None:
    async with running() as signer:
        status = proc_status(signer.pid)
        assert f"Seccomp:\t{2 if FILTERS else 0}" in status
        notes = " ".join((await signer.client.status()).notes)
        assert ("system calls are not filtered" not in notes) == FILTERS
        assert ("files are not closed" not in notes) == CLOSES
        for scheme, curve in (("ECDSA", "secp256k1"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1")):
            made = await signer.client.generate(ORG, KEY, scheme, curve, "ke-request", evidence())
            key = KeyRecord(
                ORG,
                KEY,
                scheme,
                curve,
                made.public_key,
                made.secret_kind,
                made.root_version,
                made.generation,
                made.record,
            )
            kind = "message" if scheme == "EdDSA" else "digest32"
            await signer.client.sign(SignOrder(key, kind, b"d" * 32, "si-1", evidence()))
        await signer.client.seal()
        await signer.client.unseal(None)  # the key file can still be read
        assert signer.client.available


async def test_the_confined_signer_ends_in_order() -> None:
    async with running() as signer:
        child = signer.supervisor._child
        assert child is not None
        await signer.supervisor.stop()
        assert child.returncode == 0


async def test_memory_is_locked_or_the_status_says_that_it_is_not() -> None:
    async with running() as signer:
        status = proc_status(signer.pid)
        locked = int(next(line for line in status.splitlines() if line.startswith("VmLck:")).split()[1])
        notes = " ".join((await signer.client.status()).notes)
        assert locked >= 4 or "key page is not locked" in notes
        assert locked > 1000 or "memory beside the key page may be swapped" in notes


BECOME_NOBODY = """
import ctypes, os, sys
from countersign.keystores.memory import harden_process
os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""
LIVES = (
    BECOME_NOBODY
    + """
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "hardened":
    harden_process()
print("ready", flush=True)
sys.stdin.read()
"""
)
READS = BECOME_NOBODY + "open(f'/proc/{sys.argv[1]}/mem', 'rb')"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize(("state", "readable"), [("hardened", False), ("as it was", True)])
def test_not_even_the_same_user_reads_the_memory_of_a_hardened_process(state: str, readable: bool) -> None:
    command = [sys.executable, "-c", LIVES, state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        reads = [sys.executable, "-c", READS, str(process.pid)]
        reader = subprocess.run(reads, capture_output=True, text=True)
        process.communicate()
    assert (reader.returncode == 0) == readable, reader.stderr
    assert ("PermissionError" in reader.stderr) != readable
