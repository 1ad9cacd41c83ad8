"""Node, asked once for many answers."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.clients.sdk_node import PATIENCE, require_node

_AROUND = (
    "let input='';process.stdin.on('data',part=>input+=part).on('end',()=>{"
    "const answer=(%s)(JSON.parse(input));process.stdout.write(JSON.stringify(answer))})"
)


def node(function: str, value: Any) -> Any:
    """What a JavaScript function of one JSON value gives."""
    done = subprocess.run(
        [require_node(), "-e", _AROUND % function],
        input=json.dumps(value),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return json.loads(done.stdout)
