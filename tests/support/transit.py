"""A small server with Vault's transit endpoints: encrypt, decrypt and rewrap under versioned AES-256-GCM keys."""

from __future__ import annotations

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.test"


class TransitServer:
    """On a free port of this host; every key name has versions of its own, the first made when it is first used."""

    def __init__(self) -> None:
        self.keys: dict[str, list[bytes]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                status, answer = outer.answer(
                    self.path, self.headers.get("X-Vault-Token", ""), json.loads(self.rfile.read(length) or b"{}")
                )
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, path: str, token: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body, as Vault 1.17 gives them."""
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        match path.strip("/").split("/"):
            case ["v1", "transit", ("encrypt" | "decrypt" | "rewrap") as what, name]:
                pass
            case _:
                return 404, {"errors": []}
        versions = self.keys.setdefault(name, [os.urandom(32)])
        try:
            associated = base64.b64decode(body.get("associated_data", ""))
            plaintext = base64.b64decode(body["plaintext"]) if what == "encrypt" else _open(versions, body, associated)
        except (InvalidTag, ValueError, KeyError, IndexError):
            return 400, {"errors": ["cipher: message authentication failed"]}
        if what == "decrypt":
            return 200, {"data": {"plaintext": base64.b64encode(plaintext).decode()}}
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(versions[-1]).encrypt(nonce, plaintext, associated)
        return 200, {"data": {"ciphertext": f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}"}}

    def rotate(self) -> None:
        """A new version of every key; older ones still decrypt."""
        for versions in self.keys.values():
            versions.append(os.urandom(32))

    def spec(self, directory: Path, key: str = "") -> str:
        """A provider's name for a key of this server, with its token in ``directory``."""
        token = directory / "token"
        token.write_text(TOKEN + "\n")
        return f"vault:{self.url}/transit/{key or os.urandom(4).hex()}?token_file={quote(str(token))}"

    def __enter__(self) -> TransitServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _open(versions: list[bytes], body: dict[str, str], associated: bytes) -> bytes:
    _, version, text = body["ciphertext"].split(":")
    sealed = base64.b64decode(text, validate=True)
    return AESGCM(versions[int(version[1:]) - 1]).decrypt(sealed[:12], sealed[12:], associated)
