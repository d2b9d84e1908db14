-- Control: what tenants say to workers, written in the transaction that stored it and carried to the topic `control` from here.

CREATE TABLE control_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    key text NOT NULL,
    message jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    -- Who may write for one organization can't speak for another.
    CHECK (message ->> 'organization_id' = organization_id::text)
);
COMMENT ON COLUMN control_outbox.key IS 'of the control message: a later one of the same key replaces it, and has a larger version';
CREATE INDEX control_outbox_open ON control_outbox (id) WHERE sent_at IS NULL;
CREATE INDEX control_outbox_key ON control_outbox (key, id);

CREATE FUNCTION notify_control() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('driftlock_control', '');
    RETURN NULL;
END $$;
CREATE TRIGGER notify AFTER INSERT ON control_outbox FOR EACH STATEMENT EXECUTE FUNCTION notify_control();

GRANT USAGE ON SCHEMA public TO driftlock_control;

-- How each stream stands, as its worker said last: what a stream without anomalies is known by.
CREATE TABLE stream_standing (
    organization_id uuid NOT NULL,
    stream text NOT NULL,
    events bigint NOT NULL,
    reference_n bigint NOT NULL,
    per_day bigint NOT NULL,
    last_at timestamptz NOT NULL,
    anchor_n bigint NOT NULL,
    drift bigint,
    PRIMARY KEY (organization_id, stream)
);
COMMENT ON COLUMN stream_standing.reference_n IS 'scores to compare with: calibrated from 1,000';
COMMENT ON COLUMN stream_standing.drift IS 'what an event costs more by the anchor''s frequencies than by the present''s, 2^-16 bit';
ALTER TABLE stream_standing ENABLE ROW LEVEL SECURITY;
ALTER TABLE stream_standing FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON stream_standing TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY tenant ON stream_standing TO driftlock_api, driftlock_reader
    USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization());
CREATE POLICY sink ON stream_standing TO driftlock_sink USING (true) WITH CHECK (true);
GRANT SELECT ON stream_standing TO driftlock_api, driftlock_reader;
GRANT SELECT, INSERT, UPDATE ON stream_standing TO driftlock_sink;

ALTER TABLE control_outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE control_outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON control_outbox TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY tenant ON control_outbox TO driftlock_api
    USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization());
CREATE POLICY control ON control_outbox TO driftlock_control USING (true) WITH CHECK (true);

-- A stream's mute and pause; a deleted stream is known again from its next event on.
ALTER TABLE stream_settings ADD COLUMN muted boolean NOT NULL DEFAULT false;
ALTER TABLE stream_settings ADD COLUMN deleted_at timestamptz;

ALTER TABLE anomalies ADD COLUMN patterns jsonb NOT NULL DEFAULT '[]';
COMMENT ON COLUMN anomalies.patterns IS 'what it was told for, as feedback to its stream names it';

ALTER TABLE usage_counters ADD COLUMN skipped_events bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN usage_counters.skipped_events IS 'events of paused streams: not scored';

GRANT INSERT ON control_outbox TO driftlock_api;
GRANT SELECT, UPDATE (sent_at) ON control_outbox TO driftlock_control;
