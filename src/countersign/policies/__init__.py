"""Policies: which activities go on, which wait for approval, which are refused, and why.

Other domains ask with :func:`decide` (an activity of their own, inside its transaction) and :func:`guard` (a change of
governed entities), say with :func:`register` how what they hold goes on, and with :func:`register_change` how an
approved change is made.
"""

from countersign.policies.activity import ChangeActivity, Wallet, WalletActivity
from countersign.policies.change_requests import (
    Applied,
    Change,
    ChangeRequest,
    Failed,
    change_request,
    guard,
    pending,
    pending_among,
    register_change,
)
from countersign.policies.deciding import Block, Hold, Proceed, Verdict, blocked, blocked_before, decide
from countersign.policies.decisions import Governance, approved_by
from countersign.policies.events import tell
from countersign.policies.facts import Facts, PastActivity
from countersign.policies.held import Entity, Held, register
from countersign.policies.judging import History
from countersign.policies.locks import Lock
from countersign.policies.recorded import Recorded, register_records, register_signing
from countersign.policies.unlocking import archive_locked, find_locks

__all__ = [
    "Applied",
    "Block",
    "Change",
    "ChangeActivity",
    "ChangeRequest",
    "Entity",
    "Facts",
    "Failed",
    "Governance",
    "Held",
    "History",
    "Hold",
    "Lock",
    "PastActivity",
    "Proceed",
    "Recorded",
    "Verdict",
    "Wallet",
    "WalletActivity",
    "approved_by",
    "archive_locked",
    "blocked",
    "blocked_before",
    "change_request",
    "decide",
    "find_locks",
    "guard",
    "pending",
    "pending_among",
    "register",
    "register_change",
    "register_records",
    "register_signing",
    "tell",
]
