"""``countersign sandbox listen``: what webhooks are told, printed as it happens."""

from __future__ import annotations

import json
import queue
import signal
import sys
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NoReturn

import click

from countersign.cli.common import sandbox_files

if TYPE_CHECKING:
    from countersign.cli.customer import Customer
    from countersign.server.sandbox import SandboxFiles

#: A delivery is never longer than an answer of the API and its envelope.
_MAX_BODY = 4 << 20


@dataclass(frozen=True, slots=True)
class _Arrived:
    body: bytes
    signature: str


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".local/sandbox"),
    show_default=True,
    help="Data directory of the sandbox, which must be running.",
)
@click.option(
    "--event", "events", multiple=True, default=("*",), show_default=True, help="Kind to ask for; repeatable."
)
@click.option(
    "--answer",
    type=click.IntRange(200, 599),
    default=200,
    show_default=True,
    help="Status to answer with; any but 200 has deliveries tried again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each delivery as it arrived, one a line.")
def listen(data: Path, events: tuple[str, ...], answer: int, as_json: bool) -> None:
    """Print deliveries of webhooks live, by a webhook that is made for this terminal and removed at the end.

    One that was killed leaves its webhook behind; the next one removes it.

    Each signature is verified as a receiver should do it: over the body as JavaScript writes it again, in constant
    time, and not older than five minutes.
    """
    from countersign.cli.customer import Refused
    from countersign.cli.listeners import new_mark, remove_abandoned

    files = sandbox_files(data)
    customer = _customer(files)
    marks = files.directory / "listening"
    arrived: queue.SimpleQueue[_Arrived] = queue.SimpleQueue()
    server = _receiver(arrived, answer)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        remove_abandoned(customer, marks)
        mark = new_mark(marks)
        wish = {"url": url, "events": list(events), "description": mark.description}
        made = customer.signed("POST", "/webhooks", wish)
    except Refused as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    try:
        click.echo(f"{made['id']} listens for {', '.join(events)} at {url}; stop with Ctrl-C.", err=True)
        while True:
            _print(arrived.get(), made["secret"], as_json)
    except KeyboardInterrupt:
        click.echo("", err=True)
    finally:
        server.shutdown()
        try:
            customer.signed("DELETE", f"/webhooks/{made['id']}", None)
            mark.remove()
        except Refused as error:
            click.echo(f"{made['id']} could not be removed, which the next 'sandbox listen' does: {error}", err=True)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _customer(files: SandboxFiles) -> Customer:
    from countersign.cli.customer import Customer, Refused, signing_key
    from countersign.server.sandbox import read_connection

    values = read_connection(files)
    certificates = files.directory / "ca.pem"
    try:
        key = signing_key(Path(values["privateKeyPath"]).read_bytes())
    except Refused as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{values['privateKeyPath']}: {error.strerror}") from None
    trusted = certificates if certificates.exists() else None
    return Customer(values["baseUrl"], values["authToken"], values["credentialId"], key, trusted)


def _receiver(arrived: queue.SimpleQueue[_Arrived], status: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
            arrived.put(_Arrived(self.rfile.read(length), self.headers.get("X-DFNS-WEBHOOK-SIGNATURE") or ""))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Nothing: the deliveries themselves are what is printed."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def _print(delivery: _Arrived, secret: str, as_json: bool) -> None:
    fault = _fault(delivery, secret)
    if as_json:
        sys.stdout.write(delivery.body.decode("utf-8", "replace") + "\n")
        if fault is not None:
            click.echo(fault, err=True)
    else:
        body = _object(delivery.body)
        said = "verified" if fault is None else fault.upper()
        words = (body.get("date"), body.get("kind"), body.get("id"), f"attempt {body.get('deliveryAttempt')}", said)
        # JSON escapes what would move the cursor.
        click.echo("  ".join(str(word) for word in words) + f"\n    {json.dumps(body.get('data'))}")
    sys.stdout.flush()


def _fault(delivery: _Arrived, secret: str) -> str | None:
    """Why a receiver should not believe this delivery; ``None`` when it should."""
    from countersign.webhooks.javascript_json import dumps
    from countersign.webhooks.signature import TOLERANCE, verify

    body = _object(delivery.body)
    if not verify(secret, dumps(body).encode(), delivery.signature):
        return "the signature does not verify"
    sent = body.get("timestampSent")
    if not isinstance(sent, int) or abs(time.time() - sent) >= TOLERANCE:
        return "sent too long ago"
    return None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
