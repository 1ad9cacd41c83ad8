-- An operator's requests to archive a policy that guards policies and can be changed by nobody any more.
-- state: Waiting, Cancelled, Completed. Times in ms.
CREATE TABLE policy_unlocks (
    org_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    policy_name TEXT NOT NULL,
    state TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    ready_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (org_id, request_id)
);
CREATE UNIQUE INDEX policy_unlocks_waiting ON policy_unlocks (org_id, policy_id) WHERE state = 'Waiting';
