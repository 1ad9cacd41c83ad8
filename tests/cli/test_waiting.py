"""What is printed of requests that wait."""

from __future__ import annotations

import pytest

from countersign.cli import waiting
from countersign.identity.break_glass import Request


def test_a_name_moves_no_cursor_and_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Usernames are other people's words, and may hold what a terminal takes for the end of a line."""
    name = "mallory\u2028bg-1  Completed\x1b[1A"
    made = Request("bg-1", "or-1", "us-1", name, "a key", "SHA256:a", "Waiting", 0, 1, None)
    waiting.show_made(made, f"key {made.fingerprint} for {made.username}", "break-glass", as_json=False)
    waiting.show_all([made], lambda item: item.username, ended_too=False, as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("mallory\N{REPLACEMENT CHARACTER}bg-1  Completed\N{REPLACEMENT CHARACTER}[1A") == 2
