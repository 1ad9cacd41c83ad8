"""The real signer process: who may talk to it, how it treats bad peers, how it dies and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from countersign.keystores import SignerRefused, SignerSealed, SignerUnavailable, SignOrder
from countersign.keystores.client import SignerClient
from countersign.keystores.orders import KeyRecord, SignatureValue
from countersign.keystores.protocol import MAX_FRAME, Order, frame
from countersign.keystores.serving import Connection, listen
from countersign.world import World
from tests.keystores.builders import KEY, ORG, PAIRS, STORE, Running, evidence, running
from tests.support.aio import until

STATUS = frame(msgspec.msgpack.encode(Order(1, "status")))


async def new_key(signer: Running, scheme: str = "ECDSA", curve: str = "secp256k1") -> KeyRecord:
    made = await signer.client.generate(ORG, KEY, scheme, curve, "ke-request", evidence())
    return KeyRecord(
        ORG, KEY, scheme, curve, made.public_key, made.secret_kind, made.root_version, made.generation, made.record
    )


def order(key: KeyRecord, payload: bytes = b"d" * 32) -> SignOrder:
    kind = "message" if key.scheme == "EdDSA" else "digest32"
    return SignOrder(key, kind, payload, "si-1", evidence())


def proc(pid: int, name: str) -> str:
    """What the kernel says about a process."""
    return Path(f"/proc/{pid}/{name}").read_text()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side has closed the connection, with or without an answer before it."""
    try:
        async with asyncio.timeout(20):
            await reader.read()
    except ConnectionError:
        return True
    return True


async def test_keys_are_made_sign_and_verify_in_the_process() -> None:
    async with running() as signer:
        for scheme, curve in PAIRS:
            key = await new_key(signer, scheme, curve)
            await signer.client.verify(key)
            value = await signer.client.sign(order(key))
            assert (len(value.r), len(value.s), value.recid is None) == (32, 32, scheme != "ECDSA")


async def test_many_orders_at_once_each_get_their_own_signature() -> None:
    async with running() as signer:
        key = await new_key(signer, "EdDSA", "ed25519")
        payloads = [b"message %d" % number for number in range(200)]
        values = await asyncio.gather(*(signer.client.sign(order(key, payload)) for payload in payloads))
        again = await asyncio.gather(*(signer.client.sign(order(key, payload)) for payload in payloads))
        assert values == again
        assert len({value.r for value in values}) == 200


async def test_a_long_message_fits_and_one_over_the_frame_is_refused_here() -> None:
    async with running() as signer:
        key = await new_key(signer, "EdDSA", "ed25519")
        await signer.client.sign(order(key, b"m" * 300_000))
        with pytest.raises(SignerRefused, match="longer than"):
            await signer.client.sign(order(key, b"m" * MAX_FRAME))
        with pytest.raises(SignerRefused, match="a message has at most"):
            await signer.client.sign(order(key, b"m" * 500_000))


async def test_a_killed_signer_is_started_again_and_the_client_comes_back() -> None:
    async with running() as signer:
        key = await new_key(signer)
        before, boot = signer.pid, (await signer.client.status()).boot_id
        os.kill(before, signal.SIGKILL)
        await until(lambda: not signer.client.available)
        with pytest.raises(SignerUnavailable):
            await signer.client.sign(order(key))
        await until(lambda: signer.client.available)
        assert signer.pid != before
        assert (await signer.client.status()).boot_id != boot
        await signer.client.sign(order(key))


async def test_orders_in_flight_when_the_signer_is_killed_end_as_unavailable_and_nothing_hangs() -> None:
    async with running() as signer:
        key = await new_key(signer)
        pending = [asyncio.create_task(signer.client.sign(order(key))) for _ in range(500)]
        await pending[0]
        os.kill(signer.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            results = await asyncio.gather(*pending, return_exceptions=True)
        assert {type(result) for result in results} <= {SignatureValue, SignerUnavailable}
        assert SignerUnavailable in {type(result) for result in results}


async def test_an_order_before_the_signer_is_known_is_unavailable_and_not_refused() -> None:
    """A refusal is final, and a request that meets a connection just made anew must not end by it."""
    async with running() as signer:
        key = await new_key(signer)
        connected, go_on = asyncio.Event(), asyncio.Event()

        async def roots() -> list[bytes]:
            connected.set()
            await go_on.wait()
            return [signer.root]

        other = SignerClient(str(signer.socket), signer.authoriser, roots, store_id=STORE, world=World())
        starting = asyncio.create_task(other.start(wait=20))
        try:
            await connected.wait()
            with pytest.raises(SignerUnavailable):
                await other.sign(order(key))
            with pytest.raises(SignerUnavailable):
                await other.generate(ORG, KEY, key.scheme, key.curve, "ke-request", evidence())
            go_on.set()
            await starting
            await other.sign(order(key))
        finally:
            await other.close()


async def test_who_is_not_patient_waits_for_nobody_and_still_finds_who_begins_to_listen() -> None:
    async with running() as signer:
        await signer.supervisor.stop()

        async def roots() -> list[bytes]:
            return [signer.root]

        other = SignerClient(str(signer.socket), None, roots, store_id=STORE, world=World())
        try:
            async with asyncio.timeout(30):
                await other.start(wait=3600, patient=False)
            assert (await other.status()).state == "down"
            await signer.supervisor.start()
            await until(lambda: other.open)
        finally:
            await other.close()


async def test_a_passphrase_store_waits_is_unsealed_and_sealed() -> None:
    async with running("passphrase", passphrase=b"correct horse") as signer:
        status = await signer.client.status()
        assert (status.state, signer.client.available) == ("sealed", False)
        assert "passphrase" in status.reason
        with pytest.raises(SignerSealed):
            await signer.client.generate(ORG, KEY, "ECDSA", "secp256k1", "ke-request")
        with pytest.raises(SignerRefused, match="passphrase is not the one"):
            await signer.client.unseal(bytearray(b"battery staple"))
        secret = bytearray(b"correct horse")
        await signer.client.unseal(secret)
        assert secret == bytes(len(secret)), "the caller's passphrase is wiped"
        assert signer.client.available
        key = await new_key(signer)
        await signer.client.seal()
        assert not signer.client.available
        with pytest.raises(SignerSealed):
            await signer.client.sign(order(key))


async def test_a_client_notices_that_another_one_unsealed_the_store() -> None:
    async with running("passphrase", passphrase=b"correct horse") as signer:

        async def roots() -> list[bytes]:
            return [signer.root]

        tool = SignerClient(str(signer.socket), None, roots, store_id=STORE, world=World())
        await tool.start()
        await tool.unseal(bytearray(b"correct horse"))
        await tool.close()
        await until(lambda: signer.client.available)


async def test_a_wrong_key_file_is_said_in_the_status() -> None:
    async with running() as signer:
        (signer.directory / "kek").write_bytes(b"x" * 32)
        os.kill(signer.pid, signal.SIGKILL)
        await until(lambda: not signer.client.available)
        await until(lambda: signer.supervisor.restarts == 1)
        reasons: list[str] = []
        async with asyncio.timeout(20):
            while "key-encryption key is not the one" not in "".join(reasons):
                reasons.append((await signer.client.status()).reason)
                await asyncio.sleep(0.01)
        assert not signer.client.available


async def test_a_client_of_another_store_is_not_served() -> None:
    async with running() as signer:

        async def roots() -> list[bytes]:
            return [signer.root]

        stranger = SignerClient(str(signer.socket), None, roots, store_id="ks-other", world=World())
        await stranger.start()
        assert not stranger.available
        assert (await stranger.status()).reason == "the signer serves another key store"
        assert not stranger.available
        await stranger.close()


async def test_the_process_has_no_core_dumps_no_new_privileges_and_is_closed_to_others() -> None:
    async with running() as signer:
        limits = proc(signer.pid, "limits")
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
        assert "NoNewPrivs:\t1" in proc(signer.pid, "status")
        assert signer.socket.stat().st_mode & 0o777 == 0o600
        assert signer.socket.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "hardened",
    [
        "from countersign.keystores.memory import harden_process; harden_process()",
        "from countersign.cli.kek_secrets import Secrets; Secrets()",
        "from countersign.cli.keys import _require; _require(True)",
        "from countersign.cli.common import read_secret; read_secret('Passphrase')",
    ],
    ids=["signer", "roots", "keys", "passphrase"],
)
def test_what_holds_a_secret_leaves_no_core_dump(hardened: str) -> None:
    code = f"{hardened}; import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(4))"
    given = {**os.environ, "COUNTERSIGN_PASSPHRASE_FD": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, input=b"secret\n", env=given)
    assert done.stdout == b"0 (0, 0)\n"


async def test_the_key_page_is_left_out_of_core_dumps() -> None:
    async with running() as signer:
        flags = [line for line in proc(signer.pid, "smaps").splitlines() if "VmFlags" in line]
        assert any(" dd" in line and " dc" in line for line in flags)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_another_user_is_refused_by_the_kernels_word() -> None:
    async with running() as signer:
        for place in (signer.directory, signer.socket.parent, signer.socket):
            place.chmod(0o777)
        said = await ask_as_nobody(signer)
        assert said == b"b''\n"
        assert (await signer.client.status()).state == "unsealed"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_an_allowed_user_reaches_the_socket_through_its_group() -> None:
    extra = ("--allow-uid", "nobody", "--allow-uid", "root", "--socket-group", "nogroup")
    async with running(None, *extra) as signer:
        signer.directory.chmod(0o755)
        assert signer.socket.stat().st_mode & 0o777 == 0o660
        assert signer.socket.parent.stat().st_mode & 0o777 == 0o750
        assert b"unsealed" in await ask_as_nobody(signer)


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">I", MAX_FRAME + 1),
        struct.pack(">I", 0xFFFFFFFF) + b"x" * 100,
        b"GET / HTTP/1.1\r\nHost: signer\r\n\r\n",
        frame(b""),
        frame(b"\xc1garbage"),
        frame(msgspec.msgpack.encode({"op": "status"})),
        frame(b"\x92\x01\xa1\xff"),
        STATUS + frame(b"garbage"),
    ],
    ids=["oversized", "largest", "http", "empty", "garbage", "a map", "bad utf-8", "after a good order"],
)
async def test_a_peer_that_talks_nonsense_is_cut_off_and_others_are_served(sent: bytes) -> None:
    async with running() as signer:
        reader, writer = await asyncio.open_unix_connection(str(signer.socket))
        writer.write(sent)
        assert await ended(reader)
        writer.close()
        assert (await signer.client.status()).state == "unsealed"


async def test_a_peer_that_stops_in_the_middle_of_a_frame_is_cut_off_and_others_are_served() -> None:
    async with running(None, "--patience", "0.2") as signer:
        connections = [await asyncio.open_unix_connection(str(signer.socket)) for _ in range(3)]
        for (_, writer), sent in zip(connections, (STATUS[:2], STATUS[:9], STATUS + STATUS[:9]), strict=True):
            writer.write(sent)
        key = await new_key(signer)
        await signer.client.sign(order(key))
        for reader, writer in connections:
            assert await ended(reader)
            writer.close()
        await signer.client.sign(order(key))


async def test_a_slow_but_whole_frame_is_answered() -> None:
    async with running() as signer:
        reader, writer = await asyncio.open_unix_connection(str(signer.socket))
        for byte in STATUS:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            assert msgspec.msgpack.decode(await reader.readexactly(length))[:2] == [1, "ok"]
        writer.close()


async def test_a_peer_that_never_reads_is_cut_off_and_others_are_served() -> None:
    async with running(None, "--patience", "0.2") as signer:
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(str(signer.socket))
        silent.setblocking(False)

        def push() -> bool:
            """Send until the signer hangs up; True then."""
            try:
                while True:
                    silent.send(STATUS * 100)
            except BlockingIOError:
                return False
            except OSError:
                return True

        await until(push)
        silent.close()
        assert (await signer.client.status()).state == "unsealed"


async def test_more_connections_than_allowed_are_refused_and_the_first_ones_served() -> None:
    async with running() as signer:
        held = [await asyncio.open_unix_connection(str(signer.socket)) for _ in range(63)]
        for _, writer in held:
            writer.write(STATUS)
        for reader, _ in held:
            await reader.readexactly(4)
        reader, writer = await asyncio.open_unix_connection(str(signer.socket))
        assert await ended(reader)
        assert (await signer.client.status()).state == "unsealed"
        for _, open_writer in [*held, (reader, writer)]:
            open_writer.close()


async def test_two_signers_do_not_share_a_socket() -> None:
    async with running() as signer:
        command = ("-P", "-m", "countersign.keystores.signer", "--socket", str(signer.socket), "--kek", "passphrase")
        process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
        assert process.returncode == 2
        assert b"another process uses the socket directory" in said
        assert (await signer.client.status()).state == "unsealed"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--kek", "dev:/nowhere/kek"], "dev key-encryption key is refused in production"),
        (["--kek", "passphrase", "--grant-level", "G0"], "grant level G0 is refused in production"),
        (["--kek", "passphrase"], "production needs --state DIR"),
        (["--kek", "passphrase", "--grant-level", "G1"], "production needs --state DIR"),
        (["--kek", "passphrase", "--endorse-by-itself"], "--endorse-by-itself is refused in production"),
        (["--kek", "tpm2:x"], "must be dev:PATH, file:PATH, passphrase"),
        (["--kek", "passphrase", "--allow-uid", "no-such-user"], "no-such-user"),
    ],
    ids=["dev", "G0", "no-state", "no-state-G1", "endorses", "provider", "user"],
)
def test_unsafe_settings_are_refused_with_a_sentence(tmp_path: Path, arguments: list[str], reason: str) -> None:
    command = [sys.executable, "-P", "-m", "countersign.keystores.signer", "--socket", str(tmp_path / "run" / "s")]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=20)
    assert result.returncode == 2
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_an_open_socket_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    command = [sys.executable, "-P", "-m", "countersign.keystores.signer", "--kek", "passphrase"]
    command += ["--socket", str(tmp_path / "s")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (result.returncode, "closed to others (0700)" in result.stderr) == (2, True)


def test_a_socket_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could put a socket of their own in the place of this one."""
    tmp_path.chmod(0o700)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ValueError, match="must belong to the user of this process"):
        listen(tmp_path / "s", None)


async def test_a_peer_whose_orders_are_whole_and_that_never_reads_is_cut_off() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    peers: set[Connection] = set()

    def connection() -> Connection:
        return Connection(lambda _order, _later: bytes(60_000), frozenset({os.geteuid()}), peers, 0.05)

    await asyncio.get_running_loop().connect_accepted_socket(connection, ours)
    with theirs:
        theirs.sendall(frame(b"order") * 100)
        await until(lambda: not peers)


async def test_the_signer_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from countersign.keystores import SignerSupervisor\n"
        "async def main():\n"
        "    supervisor = SignerSupervisor(sys.argv[1], 'passphrase', extra=('--grant-level', 'G1'))\n"
        "    await supervisor.start()\n"
        "    print(supervisor.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    socket_path = tmp_path / "run" / "s"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(socket_path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    signer_pid = int(await process.stdout.readline())
    await until(socket_path.exists)
    process.kill()
    await process.wait()
    await until(lambda: not alive(signer_pid))


async def ask_as_nobody(signer: Running) -> bytes:
    """The printed answer to a question for the status, asked by another user."""
    code = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);\n"
        "try:\n s.sendall(bytes.fromhex(sys.argv[2])); print(s.recv(1000))\n"
        "except OSError: print(b'')"
    )
    command = [sys.executable, "-c", code, str(signer.socket), STATUS.hex()]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said


def alive(pid: int) -> bool:
    try:
        state = proc(pid, "stat").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_an_order_to_shut_down_ends_the_process() -> None:
    async with running() as signer:
        before = signer.pid
        reader, writer = await asyncio.open_unix_connection(str(signer.socket))
        writer.write(frame(msgspec.msgpack.encode(Order(1, "shutdown"))))
        assert await ended(reader)
        writer.close()
        await until(lambda: not alive(before))


def test_a_signer_whose_parent_died_before_it_looked_does_not_start(tmp_path: Path) -> None:
    # No parent has this id: as if the starting process had been killed at once.
    command = [sys.executable, "-P", "-m", "countersign.keystores.signer", "--socket", str(tmp_path / "s" / "s.sock")]
    command += ["--kek", f"dev:{tmp_path / 'kek'}", "--environment", "sandbox", "--exit-with-parent", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "parent process is gone" in done.stderr
