-- Policies, what they hold, and who decided about it.

-- A new random id with every change of the organisation's policies, so that a copy in memory is of exactly this
-- revision or of none; '' until the first policy.
ALTER TABLE organisations ADD COLUMN policy_revision TEXT NOT NULL DEFAULT '';

-- body: JSON as it is shown. status: Active, Archived.
CREATE TABLE policies (
    org_id TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    status TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, policy_id)
);
CREATE INDEX policies_status ON policies (org_id, status, policy_id);

-- entity: what is held (entity_kind as clients know it: signatureRequest, changeRequest). groups and evaluations: JSON,
-- copied when it was held, so that later changes of the policies do not touch it. status: Pending, Approved, Denied,
-- Expired; one that is Pending after expires_at has expired, though nobody wrote it down yet.
CREATE TABLE policy_approvals (
    org_id TEXT NOT NULL,
    approval_id TEXT NOT NULL,
    initiator_id TEXT NOT NULL,
    activity_kind TEXT NOT NULL,
    entity_kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    status TEXT NOT NULL,
    groups TEXT NOT NULL,
    evaluations TEXT NOT NULL,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    resolved_at BIGINT,
    PRIMARY KEY (org_id, approval_id)
);
CREATE INDEX policy_approvals_expiring ON policy_approvals (org_id, expires_at, approval_id)
    WHERE status = 'Pending' AND expires_at IS NOT NULL;

-- Who may approve, to find approvals by approver: a user, or '*' for all people but the initiator.
CREATE TABLE policy_approvers (
    org_id TEXT NOT NULL,
    approver_id TEXT NOT NULL,
    approval_id TEXT NOT NULL,
    PRIMARY KEY (org_id, approver_id, approval_id)
) /* SQLite: WITHOUT ROWID */;

-- One decision a person and approval, final. action_id: the user action that is the evidence, signed by the credential.
CREATE TABLE policy_decisions (
    org_id TEXT NOT NULL,
    approval_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT,
    action_id TEXT NOT NULL,
    credential_uuid TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, approval_id, user_id)
) /* SQLite: WITHOUT ROWID */;

-- What policies said of an activity that was not held, where they said anything but to go on: JSON of the evaluations.
-- outcome: Cleared, Blocked. policy_ids: JSON, those that blocked it.
CREATE TABLE policy_verdicts (
    org_id TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    activity_kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    policy_ids TEXT NOT NULL,
    evaluations TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, entity_id)
);

-- Changes that a policy held or refused. body: JSON of the target state. status: Pending, Applied, Rejected, Failed.
CREATE TABLE change_requests (
    org_id TEXT NOT NULL,
    change_request_id TEXT NOT NULL,
    requester TEXT NOT NULL,
    activity_kind TEXT NOT NULL,
    kind TEXT NOT NULL,
    operation_kind TEXT NOT NULL,
    status TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    body TEXT NOT NULL,
    approval_id TEXT,
    reason TEXT,
    created_at BIGINT NOT NULL,
    resolved_at BIGINT,
    PRIMARY KEY (org_id, change_request_id)
);
CREATE UNIQUE INDEX change_requests_pending ON change_requests (org_id, entity_id) WHERE status = 'Pending';

-- Whoever counts a wallet's or key's activities takes its turn here first, so that no two count at once.
CREATE TABLE policy_turns (
    org_id TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    turn BIGINT NOT NULL,
    PRIMARY KEY (org_id, subject_id)
) /* SQLite: WITHOUT ROWID */;

-- resolved_at: when policies let a request go on or refused it, at once or by an approval.
ALTER TABLE signatures ADD COLUMN approval_id TEXT;
ALTER TABLE signatures ADD COLUMN resolved_at BIGINT;
