"""Ending a policy that nobody can change any more: for the operator's command, which decides who may and when."""

from __future__ import annotations

from countersign.policies import decisions, policies, store
from countersign.policies.approvals import Member
from countersign.policies.deciding import member
from countersign.policies.locks import Lock, locks
from countersign.storage import Transaction
from countersign.world import World

_BY_OPERATOR = "the policy was archived by the operator"


def find_locks(org_id: str, service_accounts_allowed: bool) -> Transaction[list[Lock]]:
    """The policies of an organisation that guard policies and can be changed by nobody."""
    active = yield from policies.all_active(org_id)
    return locks(active, (yield from _members(org_id)), service_accounts_allowed)


def archive_locked(org_id: str, policy_id: str, service_accounts_allowed: bool, world: World) -> Transaction[bool]:
    """Archive such a policy, and deny the change of it that waits; ``False``, and nothing done, where it is not locked.

    What other changes it made wait, waits on: who asked for them can deny it and ask anew.
    """
    if not (yield store.HOLD_POLICY, (org_id, policy_id)):
        return False
    found = yield from find_locks(org_id, service_accounts_allowed)
    locked = next((lock.policy for lock in found if lock.policy.id == policy_id), None)
    if locked is None:
        return False
    yield from policies.archive_unasked(org_id, locked, world)
    yield from decisions.deny_waiting(org_id, policy_id, _BY_OPERATOR, world)
    return True


def _members(org_id: str) -> Transaction[list[Member]]:
    rows = yield store.LIST_POSSIBLE_APPROVERS, (org_id,)
    return [member(user_id, (state, kind, is_account)) for user_id, kind, is_account, state in rows]
