"""Watch a key sign only what was countersigned: a server, the official SDK, and an audit that needs neither.

``make demo`` runs it. It starts a sandbox on a free port with an empty data directory, works with it through the
unmodified Dfns SDK, checks every signature with another library, tries to cheat, and verifies the audit log offline.
Nothing of it stays. Exit status 0 only if all of it held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.text import Text
from transcript import NotHeld, Transcript, check, duration

START_SECONDS = 30.0
LOG_LINES = 30
ACCOUNT = "Robot 1"
SOMEBODY_ELSE = "Robot 2"


class Server:
    """``countersign up`` with its data in ``data``."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data, self.log = data, log
        self.launched = time.perf_counter()
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


def start(show: Transcript, server: Server, place: Path) -> tuple[dict[str, str], str]:
    """Start the server; its connection, and the fingerprint that an auditor notes down outside of it."""
    with show.step("Start a server that has never run before", since=server.launched):
        show.command("up", "--data", server.data.name, "--port", "0")
        connection = server.connection()
        show.fact("serving", connection["baseUrl"])
        show.fact("made", f"organisation {connection['orgId']}, an administrator, a key store")
        status, text = countersign("server-keys", "list", "--data", server.data.name, "--json", cwd=place)
        check(status == 0, f"server-keys list ended with {status}: {text}")
        fingerprint: str = next(key["fingerprint"] for key in json.loads(text) if key["purpose"] == "checkpoint")
        show.fact("fingerprint", f"{fingerprint}  (the auditor notes it down)")
    return connection, fingerprint


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
    # Loads the SDK while the server starts.
    import ceremony

    connection, fingerprint = start(show, server, place)
    ceremony.perform(show, connection, ACCOUNT)
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
