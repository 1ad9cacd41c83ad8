"""What an answer says."""

from __future__ import annotations

import httpx


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of an answer that refuses."""
    return answer.status_code, answer.json()["error"]["code"]
