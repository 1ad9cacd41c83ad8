"""What an operation is: its declaration, the call it works with, wire types and errors."""

from countersign.api.call import Call, Superseded
from countersign.api.caller import Caller, Epochs
from countersign.api.effect import Effect, Enrolled
from countersign.api.errors import CATALOGUE, ApiError, conflict, evidence_error, not_found, validation
from countersign.api.operation import Operation, declared, operation
from countersign.api.pages import PageRequest, page_request
from countersign.api.request import Request, Response
from countersign.api.wire import UNSET, Held, Page, UnsetType, Wire, encode

__all__ = [
    "CATALOGUE",
    "UNSET",
    "ApiError",
    "Call",
    "Caller",
    "Effect",
    "Enrolled",
    "Epochs",
    "Held",
    "Operation",
    "Page",
    "PageRequest",
    "Request",
    "Response",
    "Superseded",
    "UnsetType",
    "Wire",
    "conflict",
    "declared",
    "encode",
    "evidence_error",
    "not_found",
    "operation",
    "page_request",
    "validation",
]
