"""The console: what browsers fetch of it. What its pages do goes through the operations that all clients call."""

from __future__ import annotations

from countersign.api import UNSET, Call, Response, UnsetType, Wire, not_found, operation
from countersign.console.files import PAGE, Console


class BroughtBack(Wire, forbid_unknown_fields=False):
    """What an identity provider sends a browser back with, and whatever it adds: for the page alone."""

    code: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


@operation("GET", "/console", public=True)
async def console(call: Call, query: BroughtBack) -> Response:
    """Serve the page of the web console.

    The page asks identity providers to send people back with code and state behind the `#`, which no server sees; for
    one that knows only queries, a query is let through to it.
    """
    del query
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
