-- What is over and serves nobody is deleted by the jobs process: its role sees and deletes such rows and no others. Who logs
-- people in deletes nothing any more.

DO $$
DECLARE
    name text;
    over text;
BEGIN
    FOR name, over IN VALUES
        ('sign_ups', 'expires_at < now() - interval ''1 day'''),
        ('password_resets', 'expires_at < now() - interval ''1 day'''),
        ('sessions', 'least(ended_at, expires_at) < now() - interval ''1 day'''),  -- and its refresh tokens, by their key
        ('login_failures', 'since < now() - interval ''1 day'''),
        ('intake_requests', 'begun_at < now() - interval ''1 day'''),
        ('invitations', 'accepted_at IS NULL AND expires_at < now() - interval ''30 days''')
    LOOP
        EXECUTE format('CREATE POLICY prune_jobs ON %I FOR DELETE TO driftlock_jobs USING (%s)', name, over);
        EXECUTE format('CREATE POLICY prune_jobs_seen ON %I FOR SELECT TO driftlock_jobs USING (%s)', name, over);
    END LOOP;
END $$;
GRANT DELETE ON sign_ups, password_resets, sessions, login_failures, intake_requests, invitations TO driftlock_jobs;
GRANT SELECT (expires_at) ON sign_ups, password_resets TO driftlock_jobs;
GRANT SELECT (ended_at, expires_at) ON sessions TO driftlock_jobs;
GRANT SELECT (since) ON login_failures TO driftlock_jobs;
GRANT SELECT (begun_at) ON intake_requests TO driftlock_jobs;
GRANT SELECT (accepted_at, expires_at) ON invitations TO driftlock_jobs;

DROP POLICY prune ON intake_requests;
DROP POLICY prune_seen ON intake_requests;
REVOKE DELETE ON sign_ups, password_resets, sessions, refresh_tokens, login_failures, intake_requests FROM driftlock_accounts;
REVOKE SELECT (begun_at) ON intake_requests FROM driftlock_accounts;

CREATE INDEX sessions_over ON sessions (least(ended_at, expires_at));
CREATE INDEX intake_requests_begun ON intake_requests (begun_at);
