-- Approved requests are signed, and approvals ended by the clock, by jobs; what was under way before gets its job here.

INSERT INTO jobs (org_id, job_id, kind, lane, unique_key, payload, due_at, attempt, fence, lost, created_at)
SELECT org_id, REPLACE(signature_id, 'sig-', 'job-'), 'keys.sign_approved', '', signature_id,
    '{"signatureId":"' || signature_id || '"}', requested_at, 0, 0, 0, requested_at
FROM signatures WHERE status = 'Executing' AND approval_id IS NOT NULL;

INSERT INTO jobs (org_id, job_id, kind, lane, unique_key, payload, due_at, attempt, fence, lost, created_at)
SELECT org_id, REPLACE(approval_id, 'ap-', 'job-'), 'policies.end_approval', '', approval_id,
    '{"approvalId":"' || approval_id || '"}', expires_at, 0, 0, 0, created_at
FROM policy_approvals WHERE status = 'Pending' AND expires_at IS NOT NULL;

DROP INDEX policy_approvals_expiring;
