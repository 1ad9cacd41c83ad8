-- Durable work: what is to be done after a change, written in the change's own transaction.
--
-- `due_at` (ms) is when a job may be taken. Whoever takes it moves it to the end of its lease, so that one look-up finds
-- what is new, what is to be tried again and what a dead worker left. `fence` grows with every taking; only who holds the
-- newest may settle the job. `attempt` counts failures of the plan, not takings. Finished jobs are deleted.
-- `lane` holds what shares a bound on concurrency, most general first, separated by spaces. `org_id` is empty for work
-- of the whole installation.
CREATE TABLE jobs (
    org_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    lane TEXT NOT NULL,
    unique_key TEXT,
    payload TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    owner TEXT,
    -- Takings since the last outcome: a job whose workers die over it is put aside.
    lost BIGINT NOT NULL,
    reason TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, job_id),
    UNIQUE (org_id, kind, unique_key)
);
CREATE INDEX jobs_due ON jobs (kind, due_at, lane);
CREATE INDEX jobs_lane ON jobs (kind, lane, due_at);

-- Jobs whose plan is used up, with the reason; kept for people to look at, to try again or to drop.
CREATE TABLE dead_jobs (
    org_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    lane TEXT NOT NULL,
    unique_key TEXT,
    payload TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    died_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, job_id)
);
CREATE INDEX dead_jobs_died ON dead_jobs (died_at);
