"""The console: what browsers fetch of it. What its pages do goes through the operations that all clients call."""

from __future__ import annotations

from countersign.api import Call, Response, not_found, operation
from countersign.console.files import PAGE, Console


@operation("GET", "/console", public=True)
async def console(call: Call) -> Response:
    """Serve the page of the web console."""
    return _file(call, PAGE)


@operation("GET", "/console/{file}", public=True)
async def console_file(call: Call) -> Response:
    """Serve a file of the console's page: `app.js`, `app.css`, `icon.svg`, `licences.txt`, or `settings.json`."""
    return _file(call, call.params["file"])


def _file(call: Call, name: str) -> Response:
    answer = call.service(Console).answer(name, call.request.headers)
    if answer is None:
        raise not_found("route")
    return answer
