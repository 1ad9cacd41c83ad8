"""All SQL of jobs."""

from __future__ import annotations

from countersign.storage import Statement

_JOB = "org_id, job_id, kind, lane, payload, attempt, fence, lost, created_at"

INSERT = Statement(
    "jobs.insert",
    "INSERT INTO jobs (org_id, job_id, kind, lane, unique_key, payload, due_at, attempt, fence, lost, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?) ON CONFLICT DO NOTHING RETURNING job_id",
)

# Of the oldest that are due.
DUE_LANES = Statement(
    "jobs.due_lanes",
    "SELECT lane, COUNT(*) FROM (SELECT lane, due_at FROM jobs WHERE kind = ? AND due_at <= ? ORDER BY due_at LIMIT ?)"
    " AS oldest GROUP BY lane ORDER BY MIN(due_at)",
)

# Every lane that has something due, from one to the next along the index: what is due in between is not read.
ALL_DUE_LANES = Statement(
    "jobs.all_due_lanes",
    "WITH RECURSIVE lanes (lane) AS ("
    "SELECT MIN(lane) FROM jobs WHERE kind = ?"
    " UNION ALL SELECT (SELECT MIN(jobs.lane) FROM jobs WHERE jobs.kind = ? AND jobs.lane > lanes.lane)"
    " FROM lanes WHERE lanes.lane IS NOT NULL)"
    " SELECT lane, (SELECT MIN(due_at) FROM jobs WHERE jobs.kind = ? AND jobs.lane = lanes.lane) AS oldest"
    " FROM lanes WHERE lanes.lane IS NOT NULL ORDER BY oldest",
)

# `due_at` is looked at again in the outer statement, so that of two workers one gets the job on any engine; where rows
# can be passed over that another worker is about to take, they are.
_TAKE = (
    "UPDATE jobs SET owner = ?, due_at = ?, fence = fence + 1, lost = lost + 1 WHERE due_at <= ?"
    " AND (org_id, job_id) IN (SELECT org_id, job_id FROM jobs WHERE kind = ? AND lane = ? AND due_at <= ?"
    " ORDER BY due_at LIMIT ?{})"
    f" RETURNING {_JOB}"
)
TAKE = Statement("jobs.take", _TAKE.format(""), _TAKE.format(" FOR UPDATE SKIP LOCKED"))

FINISH = Statement("jobs.finish", "DELETE FROM jobs WHERE org_id = ? AND job_id = ? AND fence = ? RETURNING unique_key")
POSTPONE = Statement(
    "jobs.postpone",
    "UPDATE jobs SET owner = NULL, due_at = ?, attempt = ?, lost = 0, reason = ?, payload = ?"
    " WHERE org_id = ? AND job_id = ? AND fence = ? RETURNING job_id",
)
RENEW = Statement(
    "jobs.renew",
    "UPDATE jobs SET due_at = ? WHERE org_id = ? AND job_id = ? AND fence = ? AND owner IS NOT NULL RETURNING job_id",
)
RELEASE = Statement(
    "jobs.release",
    "UPDATE jobs SET owner = NULL, due_at = ?, lost = lost - 1"
    " WHERE org_id = ? AND job_id = ? AND fence = ? AND owner IS NOT NULL",
)
INSERT_DEAD = Statement(
    "jobs.insert_dead",
    "INSERT INTO dead_jobs"
    " (org_id, job_id, kind, lane, unique_key, payload, attempt, fence, reason, created_at, died_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
FORGET_DEAD = Statement(
    "jobs.forget_dead",
    "DELETE FROM dead_jobs WHERE (org_id, job_id) IN"
    " (SELECT org_id, job_id FROM dead_jobs WHERE died_at < ? AND ? NOT LIKE '%,' || kind || ',%'"
    " ORDER BY died_at LIMIT ?) RETURNING job_id",
)

# For people and metrics.
OLDEST_DUE = Statement("jobs.oldest_due", "SELECT MIN(due_at) FROM jobs WHERE kind = ? AND due_at <= ?")
# Of the newest: all of them may be a million, and it is asked every few seconds.
COUNT_DEAD = Statement(
    "jobs.count_dead",
    "SELECT kind, COUNT(*) FROM (SELECT kind FROM dead_jobs ORDER BY died_at DESC LIMIT ?) AS newest GROUP BY kind",
)

_SHOWN = "org_id, job_id, kind, lane, payload, attempt, reason, created_at"
LIST = Statement(
    "jobs.list",
    f"SELECT {_SHOWN}, owner, due_at FROM jobs WHERE (kind = ? OR ? = '') AND (org_id = ? OR ? = '')"
    " ORDER BY due_at LIMIT ?",
)
LIST_DEAD = Statement(
    "jobs.list_dead",
    f"SELECT {_SHOWN}, died_at FROM dead_jobs WHERE (kind = ? OR ? = '') AND (org_id = ? OR ? = '')"
    " ORDER BY died_at DESC LIMIT ?",
)
FIND = Statement("jobs.find", f"SELECT {_SHOWN}, owner, due_at FROM jobs WHERE job_id = ?")
FIND_DEAD = Statement("jobs.find_dead", f"SELECT {_SHOWN}, died_at FROM dead_jobs WHERE job_id = ?")
# By a text in the payload, or by the unique key: for people who ask for one of an organisation's jobs, not for workers.
CARRYING = Statement(
    "jobs.carrying",
    "SELECT job_id FROM jobs WHERE org_id = ? AND kind = ? AND (payload LIKE ? OR unique_key = ?)"
    " UNION ALL SELECT job_id FROM dead_jobs WHERE org_id = ? AND kind = ? AND (payload LIKE ? OR unique_key = ?)",
)
ALL_OF = Statement(
    "jobs.all_of",
    "SELECT job_id, payload FROM jobs WHERE org_id = ? AND kind = ?"
    " UNION ALL SELECT job_id, payload FROM dead_jobs WHERE org_id = ? AND kind = ?",
)
HURRY = Statement(
    "jobs.hurry",
    "UPDATE jobs SET due_at = ? WHERE org_id = ? AND job_id = ? AND (owner IS NULL OR due_at <= ?) RETURNING job_id",
)
REVIVE = Statement(
    "jobs.revive",
    "INSERT INTO jobs"
    " (org_id, job_id, kind, lane, unique_key, payload, due_at, attempt, fence, lost, reason, created_at)"
    " SELECT org_id, job_id, kind, lane, unique_key, payload, ?, 0, fence, 0, reason, created_at FROM dead_jobs"
    " WHERE org_id = ? AND job_id = ? ON CONFLICT DO NOTHING RETURNING job_id",
)
DROP_DEAD = Statement("jobs.drop_dead", "DELETE FROM dead_jobs WHERE org_id = ? AND job_id = ? RETURNING kind")
# One that runs is left to its worker, whose lease lasts until `due_at`.
DROP = Statement(
    "jobs.drop",
    "DELETE FROM jobs WHERE org_id = ? AND job_id = ? AND (owner IS NULL OR due_at <= ?) RETURNING kind",
)
