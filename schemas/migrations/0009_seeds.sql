-- Events of the past that an operator had a stream learn before its first own one (`driftlock backfill --seed`): counted, never billed.
ALTER TABLE usage_counters ADD COLUMN seeded_events bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN usage_counters.seeded_events IS 'events of the past that were learned and told to nobody';

-- The command asks whether a stream has events of its own already.
CREATE POLICY jobs ON stream_standing FOR SELECT TO driftlock_jobs USING (true);
GRANT SELECT (organization_id, stream, events, last_at) ON stream_standing TO driftlock_jobs;
CREATE POLICY jobs_seen ON stream_settings FOR SELECT TO driftlock_jobs USING (true);
GRANT SELECT (organization_id, stream, deleted_at) ON stream_settings TO driftlock_jobs;
