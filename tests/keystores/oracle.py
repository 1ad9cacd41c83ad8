"""A second implementation of every curve, ``@noble/curves`` and ``@scure/starknet`` under Node."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.clients.sdk_node import HERE, require_node


def ask(questions: list[dict[str, Any]]) -> list[Any]:
    """One answer to each question of ``oracle.mjs``; the test is skipped, or fails, where Node is missing."""
    program = [require_node(), str(HERE / "oracle.mjs")]
    done = subprocess.run(program, input=json.dumps(questions), capture_output=True, text=True, timeout=60, check=True)
    answers: list[Any] = json.loads(done.stdout)
    return answers
