"""Watch a key sign only what was countersigned: a server, the official SDK, and an audit that needs neither.

``make demo`` runs it. It starts a sandbox on a free port with an empty data directory, works with it through the
unmodified Dfns SDK, checks every signature with another library, tries to cheat, and verifies the audit log offline.
Nothing of it stays. Exit status 0 only if all of it held.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from dfns_sdk import DfnsClient, DfnsClientConfig
from dfns_sdk.auth import KeySigner
from dfns_sdk.base_auth_api import BaseAuthApi
from rich.console import Console
from rich.text import Text

PAYMENT = b"pay 5 BTC to Alice"
LETTER = b"We, the treasury, agree."
ACCOUNT = "Robot 1"
SOMEBODY_ELSE = "Robot 2"
START_SECONDS = 30.0
WIDTH = 100
LOG_LINES = 30


class NotHeld(Exception):
    """Something that this demo promises did not hold; the text says what."""


@dataclass
class Transcript:
    """Prints each step when it is done, with the time it took."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: int = 0
    title: str = ""
    lines: list[Text] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step of the demo; what is said inside appears below its title."""
        self.steps, self.title = self.steps + 1, title
        self.lines = []
        started = time.perf_counter()
        try:
            yield
        except BaseException:
            self._print("FAILED", "bold red")
            raise
        self._print(duration(time.perf_counter() - started), "cyan")

    def _print(self, right: str, style: str) -> None:
        head = Text(f"{self.steps}  {self.title}", style="bold")
        head.append(right.rjust(max(2 + len(right), WIDTH - head.cell_len)), style=style)
        self.console.print(head)
        for line in self.lines:
            self.console.print(line)
        self.console.print()

    def say(self, text: str) -> None:
        """A plain sentence."""
        self.lines.append(Text(f"   {text}"))

    def fact(self, name: str, value: str) -> None:
        """Something that was made or seen."""
        self.lines.append(Text.assemble("   ", (f"{name:<12}", "dim"), value))

    def command(self, *words: str) -> None:
        """A command that the reader could have typed."""
        self.lines.append(Text.assemble("   ", ("$ ", "dim"), ("countersign " + shlex.join(words), "blue")))

    def held(self, text: str) -> None:
        """A promise that was kept."""
        self.lines.append(Text.assemble("   ", ("ok  ", "bold green"), text))


def duration(seconds: float) -> str:
    """``12 ms`` or ``1.20 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def check(held: bool, otherwise: str) -> None:
    """Raise :class:`NotHeld` unless it held."""
    if not held:
        raise NotHeld(otherwise)


# The server and the command line, as a user has them.


class Server:
    """``countersign up`` with its data in ``data``."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data, self.log = data, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "countersign", "up", "--data", str(data), "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
            )

    def connection(self) -> dict[str, str]:
        """What the server writes for its clients, once it serves."""
        path = self.data / "connection.json"
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            check(self.process.poll() is None, f"the server ended with status {self.process.returncode}")
            if path.exists():
                values: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
                if values["baseUrl"]:
                    return values
            time.sleep(0.005)
        raise NotHeld(f"the server does not serve after {START_SECONDS:.0f} s")

    def stop(self) -> int:
        """Stop it in order; its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


def environment() -> dict[str, str]:
    """This process's environment without settings for some other server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}


def countersign(*words: str, cwd: Path) -> tuple[int, str]:
    """Run a command of the command line: exit status and what it printed."""
    command = [sys.executable, "-m", "countersign", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment(), check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


# The client's side: the official SDK, and a library that knows nothing of the server.


@dataclass(frozen=True)
class Party:
    """Somebody who calls the server: an SDK client, and what it signs with."""

    client: DfnsClient
    signer: KeySigner
    base_url: str
    token: str

    @classmethod
    def of(cls, base_url: str, token: str, credential_id: str, private_key: str) -> Party:
        """Connect with a token and a credential (PEM private key)."""
        signer = KeySigner(credential_id, private_key)
        return cls(
            DfnsClient(DfnsClientConfig(auth_token=token, base_url=base_url, signer=signer)), signer, base_url, token
        )

    def countersigned(self, method: str, path: str, body: dict[str, Any]) -> str:
        """Consent to one request, in the SDK's two calls: gives the one-time token for it."""
        http = self.client._http
        challenge = BaseAuthApi.create_user_action_challenge(
            http, method, path, json.dumps(body, separators=(",", ":"))
        )
        answer = {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "firstFactor": self.signer.sign(challenge),
        }
        token: str = BaseAuthApi.sign_user_action_challenge(http, answer)["userAction"]
        return token

    def send(self, method: str, path: str, body: dict[str, Any], one_time_token: str) -> httpx.Response:
        """The bare request, with a one-time token of one's choice."""
        headers = {"Authorization": f"Bearer {self.token}", "X-DFNS-USERACTION": one_time_token}
        return httpx.request(method, self.base_url + path, json=body, headers=headers, timeout=30)


def is_valid(verify: Callable[[bytes], None], message: bytes) -> bool:
    """Whether a signature is one over this message."""
    try:
        verify(message)
    except InvalidSignature:
        return False
    return True


def ecdsa_over(public_key: str, signature: dict[str, str]) -> Callable[[bytes], None]:
    """Checks that an ECDSA signature by a compressed secp256k1 point is over the SHA-256 of a message."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), bytes.fromhex(public_key))
    der = utils.encode_dss_signature(int(signature["r"], 16), int(signature["s"], 16))
    return lambda message: point.verify(der, message, ec.ECDSA(SHA256()))


def ed25519_over(public_key: str, signature: dict[str, str]) -> Callable[[bytes], None]:
    """Checks that an Ed25519 signature is over a message."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    raw = bytes.fromhex(signature["r"][2:] + signature["s"][2:])
    return lambda message: key.verify(raw, message)


def short(text: str) -> str:
    """Enough of a long value to recognise it."""
    return text if len(text) <= 44 else f"{text[:30]}...{text[-8:]}"


# The demo itself.


def start(show: Transcript, server: Server, place: Path) -> tuple[dict[str, str], str]:
    """Start the server; its connection, and the fingerprint that an auditor notes down outside of it."""
    with show.step("Start a server that has never run before"):
        show.command("up", "--data", server.data.name, "--port", "0")
        connection = server.connection()
        show.fact("serving", connection["baseUrl"])
        show.fact("made", f"organisation {connection['orgId']}, an administrator, a key store")
        status, text = countersign("server-keys", "list", "--data", server.data.name, "--json", cwd=place)
        check(status == 0, f"server-keys list ended with {status}: {text}")
        fingerprint: str = next(key["fingerprint"] for key in json.loads(text) if key["purpose"] == "checkpoint")
        show.fact("fingerprint", f"{fingerprint}  (the auditor notes it down)")
    return connection, fingerprint


def hire(show: Transcript, connection: dict[str, str]) -> Party:
    """A service account whose private key is made here and stays here."""
    with show.step("Create a service account, with the official SDK"):
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        admin = Party.of(
            connection["baseUrl"],
            connection["adminToken"],
            connection["adminCredentialId"],
            Path(connection["adminPrivateKeyPath"]).read_text(encoding="ascii"),
        )
        with admin.client:
            known = admin.client.auth.get_service_account(connection["userId"])
            rights = known["userInfo"]["permissionAssignments"][0]
            made = admin.client.auth.create_service_account(
                {"name": ACCOUNT, "publicKey": public_pem, "permissionId": rights["permissionId"]}
            )
        access = made["accessTokens"][0]
        show.fact("client", f"dfns-sdk {importlib.metadata.version('dfns-sdk')} from PyPI, unmodified")
        show.fact("account", f"{made['userInfo']['userId']}  with {rights['permissionName']}")
        show.fact("credential", f"{access['credId']}  its private key never left this process")
    return Party.of(connection["baseUrl"], access["accessToken"], access["credId"], pem)


def make_keys(show: Transcript, robot: Party) -> tuple[dict[str, Any], dict[str, Any]]:
    """One key for digests, one for messages."""
    with show.step("The account creates two keys, each call countersigned"):
        bitcoin: Any = robot.client.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1", "name": "Payments"})
        letters: Any = robot.client.keys.create_key({"scheme": "EdDSA", "curve": "ed25519", "name": "Letters"})
        for key in (bitcoin, letters):
            show.fact(f"{key['scheme']}", f"{key['id']}  {short(key['publicKey'])}")
        show.say("Their private halves exist only sealed, and open only inside a process of their own: the signer.")
    return bitcoin, letters


def sign_twice(show: Transcript, robot: Party, bitcoin: dict[str, Any], letters: dict[str, Any]) -> None:
    """Two signatures, each checked by a library that knows nothing of the server."""
    digest = hashlib.sha256(PAYMENT).hexdigest()
    payment = {"kind": "Hash", "hash": f"0x{digest}"}
    letter = {"kind": "Message", "message": f"0x{LETTER.hex()}"}
    for title, key, body, message, over in (
        ("Sign the digest of a payment", bitcoin, payment, PAYMENT, ecdsa_over),
        ("Sign a message", letters, letter, LETTER, ed25519_over),
    ):
        with show.step(title):
            request: Any = robot.client.keys.generate_signature(key["id"], body)
            show.fact("to sign", f'"{message.decode()}"')
            show.fact("request", f"{request['id']}  {request['status']}")
            check(request["status"] == "Signed", f"the request is {request['status']}: {request.get('reason')}")
            signature = request["signature"]
            show.fact("signature", f"r {short(signature['r'])}  s {short(signature['s'])}")
            verify = over(key["publicKey"], signature)
            check(is_valid(verify, message), "the signature does not verify")
            check(not is_valid(verify, message + b"!"), "the signature verifies for another message")
            version = importlib.metadata.version("cryptography")
            show.held(f"verified with cryptography {version}; for a message one letter longer it does not verify")


def try_to_cheat(show: Transcript, robot: Party, key: dict[str, Any]) -> None:
    """A one-time token is good for one request, once."""
    path = f"/keys/{key['id']}"
    honest, forged = {"name": "Payments 2026"}, {"name": "Mallory's"}
    with show.step("Cheat: send another body than the one that was countersigned"):
        token = robot.countersigned("PUT", path, honest)
        show.fact("signed", f"PUT {path}  {json.dumps(honest)}")
        show.fact("sent", f"PUT {path}  {json.dumps(forged)}")
        answer = robot.send("PUT", path, forged, token)
        refused(show, answer, 403, "USER_ACTION_INVALID")
        name = robot.client.keys.get_key(key["id"])["name"]
        check(name == key["name"], f"the key is called {name!r} now")
        show.held(f'the key is still called "{name}"')
    with show.step("Cheat: use a one-time token twice"):
        answer = robot.send("PUT", path, honest, token)
        check(answer.status_code == 200, f"the countersigned request was refused: {answer.status_code} {answer.text}")
        show.held(f'{answer.status_code}  with the body that was countersigned: the key is called "{honest["name"]}"')
        refused(show, robot.send("PUT", path, honest, token), 400, "USER_ACTION_REUSED")


def refused(show: Transcript, answer: httpx.Response, status: int, code: str) -> None:
    """The server must have refused in just this way."""
    found = (answer.status_code, answer.json().get("error", {}).get("code"))
    check(found == (status, code), f"expected {status} {code}, the server answered {answer.status_code} {answer.text}")
    show.held(f"{status}  {code}: {answer.json()['message']}")


def audit(show: Transcript, server: Server, place: Path, org_id: str, fingerprint: str) -> None:
    """Export the log, stop the server, verify without it; then change one byte."""
    export = place / "audit.jsonl"
    with show.step("Export the audit log, then stop the server"):
        words = ("audit", "export", "--data", server.data.name, "--org", org_id, "--output", export.name)
        show.command(*words)
        end = time.monotonic() + START_SECONDS
        while True:
            status, text = countersign(*words, cwd=place)
            check(status == 0, f"the export ended with {status}: {text}")
            # Entries get their place in the tree a moment after they are written.
            if text.endswith(" 0 not yet in the tree"):
                break
            check(time.monotonic() < end, f"entries stay outside the tree: {text}")
        show.say(text)
        status = server.stop()
        check(status == 0, f"the server ended with status {status}")
    with show.step("Verify every consent offline, trusting only the fingerprint"):
        verify = ("audit", "verify", export.name, "--trust", fingerprint)
        show.command(*verify)
        status, text = countersign(*verify, cwd=place)
        check(status == 0, f"verify ended with {status}: {text}")
        for line in text.splitlines()[:5]:
            show.say(line.rstrip())
        show.held("exit status 0")
    with show.step("Change one byte of the export, and verify again"):
        content = export.read_bytes()
        signed_by = f'"username":"{ACCOUNT}"'.replace('"', '\\"').encode()
        check(signed_by in content, "the export does not name who signed")
        forged = place / "forged.jsonl"
        forged.write_bytes(content.replace(signed_by, signed_by.replace(ACCOUNT.encode(), SOMEBODY_ELSE.encode()), 1))
        show.fact("changed", f'who signed, in one entry: from "{ACCOUNT}" to "{SOMEBODY_ELSE}"')
        verify = ("audit", "verify", forged.name, "--trust", fingerprint)
        show.command(*verify)
        status, text = countersign(*verify, cwd=place)
        for line in text.splitlines():
            show.say(line)
        check(status == 1, f"verify ended with {status}")
        show.held("exit status 1: found, and the entry named")


def run(show: Transcript, server: Server, place: Path) -> None:
    """Every step, in order."""
    connection, fingerprint = start(show, server, place)
    robot = hire(show, connection)
    with robot.client:
        bitcoin, letters = make_keys(show, robot)
        sign_twice(show, robot, bitcoin, letters)
        try_to_cheat(show, robot, bitcoin)
    audit(show, server, place, connection["orgId"], fingerprint)


def main() -> int:
    """Run the demo; 0 only if all of it held."""
    # A proxy of the environment has no business between this process and its own server.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    show = Transcript()
    started = time.perf_counter()
    show.console.print(Text("Countersign: a key signs only what was countersigned", style="bold"))
    show.console.print(
        Text("A server, a client and an auditor, all on this machine; nothing of it stays.\n", style="dim")
    )
    with tempfile.TemporaryDirectory(prefix="countersign-demo-") as directory:
        place = Path(directory)
        server = Server(place / "data", place / "server.log")
        try:
            run(show, server, place)
        except KeyboardInterrupt:
            show.console.print("Stopped.")
            return 130
        except Exception as error:
            server.stop()
            reason = str(error) if isinstance(error, NotHeld) else f"{type(error).__name__}: {error}"
            show.console.print(Text(f"Step {show.steps} did not hold ({show.title}): {reason}", style="bold red"))
            show.console.print(Text("\nThe end of the server's log:", style="dim"))
            log = server.log.read_text(encoding="utf-8", errors="replace").splitlines()
            show.console.print(Text("\n".join(log[-LOG_LINES:])))
            return 1
        finally:
            server.stop()
    total = duration(time.perf_counter() - started)
    show.console.print(Text(f"All of it held, in {total}.", style="bold green"))
    show.console.print("Next: `make up` runs a server to work with; docs/ says how it works and what it promises.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
