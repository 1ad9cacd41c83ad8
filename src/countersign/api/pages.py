"""Lists, page by page."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.api.errors import validation
from countersign.api.wire import UNSET, Page
from countersign.storage import pagination


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page of ids below ``before``, at most ``limit``; ``scope`` names the list and its filters."""

    before: str
    limit: int
    scope: str


def page_request(query: Page, scope: str) -> PageRequest:
    """Read the query of a list; 400 names the member that is wrong."""
    try:
        limit = pagination.parse_limit(None if query.limit is UNSET else query.limit)
    except ValueError as error:
        raise validation("limit", str(error)) from None
    try:
        before = pagination.start_of(None if query.pagination_token is UNSET else query.pagination_token, scope)
    except ValueError as error:
        raise validation("paginationToken", str(error)) from None
    return PageRequest(before, limit, scope)
