-- The feed of one stream, the newest first: without it each page looks through the anomalies of all streams.

CREATE INDEX anomalies_stream ON anomalies (organization_id, stream, created_at, id);
