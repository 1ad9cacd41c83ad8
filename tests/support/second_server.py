"""A further server process over the database, server secret and signer of a running sandbox, as behind a balancer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.support.nursery import born
from tests.support.server import START_SECONDS, Sandbox


@contextmanager
def second_server(of: Sandbox) -> Iterator[str]:
    """The base URL of the second process."""
    log = of.directory.with_name(of.directory.name + "-second.log")
    environment = {
        **os.environ,
        "COUNTERSIGN_PROFILE": "sandbox",
        "COUNTERSIGN_DATABASE": of.database or f"sqlite://{of.directory / 'countersign.db'}",
        "COUNTERSIGN_PORT": "0",
        "COUNTERSIGN_ADMIN_PORT": "-1",
        "COUNTERSIGN_SERVER_SECRET_FILE": str(of.directory / "server.secret"),
        "COUNTERSIGN_SIGNER_SOCKET": str(of.directory / "signer" / "signer.sock"),
        "COUNTERSIGN_LOG_LEVEL": "info",
        "COUNTERSIGN_ORGANISATION_REQUESTS_PER_MINUTE": "1000000",
        "COUNTERSIGN_ADDRESS_REQUESTS_PER_MINUTE": "1000000",
        **of.environment,
    }
    with log.open("wb") as output:
        process = born(["serve"], stdout=output.fileno(), stderr=output.fileno(), env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = log.read_text(errors="replace")
            if process.poll() is not None:
                raise AssertionError(f"the second server ended with {process.returncode}:\n{text[-4000:]}")
            for line in text.splitlines():
                event = json.loads(line) if line.startswith("{") else {}
                if event.get("event") == "serving":
                    base_url = f"http://127.0.0.1:{event['port']}"
                    if httpx.get(f"{base_url}/readyz", timeout=5).status_code == 200:
                        yield base_url
                        return
            time.sleep(0.02)
        raise AssertionError(f"the second server does not serve:\n{log.read_text(errors='replace')[-4000:]}")
    finally:
        process.terminate()
        process.wait(20)
