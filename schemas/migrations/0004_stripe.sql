-- What Stripe's side needs: prices known by id, present state of subscriptions and invoices, access, alarms, the sender's lock.

ALTER TABLE installation
    ADD COLUMN sender_locked_at timestamptz,
    ADD COLUMN sender_locked_for text,
    ADD COLUMN replay_to jsonb,
    ADD CHECK ((sender_locked_at IS NULL) = (sender_locked_for IS NULL));
COMMENT ON COLUMN installation.sender_locked_at IS 'set by a restore: nothing is sent until the ledger is rebuilt and reconciled';
COMMENT ON COLUMN installation.replay_to IS 'offsets per partition of the topic usage that the rebuilt ledger must have reached';

-- The prices that `driftlock stripe sync-prices` made or found: a subscription to any other is refused, never guessed.
CREATE TABLE stripe_prices (
    id text PRIMARY KEY,
    livemode boolean NOT NULL DEFAULT false REFERENCES installation (livemode),
    plan text NOT NULL,
    plan_version integer NOT NULL,
    part text NOT NULL CHECK (part IN ('flat', 'overage')),
    synced_at timestamptz NOT NULL,
    retired_at timestamptz,
    FOREIGN KEY (plan, plan_version) REFERENCES plan_versions (plan, version)
);
COMMENT ON COLUMN stripe_prices.retired_at IS 'another price took its place for new subscriptions; those that have it keep it';
CREATE UNIQUE INDEX stripe_prices_current ON stripe_prices (plan, plan_version, part) WHERE retired_at IS NULL;

ALTER TABLE subscriptions
    ADD COLUMN started_at timestamptz,
    ADD COLUMN period_start timestamptz,
    ADD COLUMN period_end timestamptz,
    ADD COLUMN cancel_at_period_end boolean NOT NULL DEFAULT false,
    ADD COLUMN trial_end timestamptz;
COMMENT ON COLUMN subscriptions.period_start IS 'of Stripe''s present period, as it was last fetched';

ALTER TABLE invoices_mirror
    ADD COLUMN billing_reason text,
    ADD COLUMN created_at timestamptz,
    ADD COLUMN finalized_at timestamptz,
    ADD COLUMN paid_at timestamptz,
    ADD COLUMN next_payment_attempt timestamptz,
    ADD COLUMN attempt_count integer NOT NULL DEFAULT 0,
    ADD COLUMN pdf_url text,
    ADD COLUMN held_at timestamptz,
    ADD COLUMN held_for text,
    ADD COLUMN released_at timestamptz,
    ADD CHECK ((held_at IS NULL) = (held_for IS NULL));
COMMENT ON COLUMN invoices_mirror.held_at IS 'since when the reconciler keeps the draft from becoming final';
CREATE INDEX invoices_mirror_organization ON invoices_mirror (organization_id, created_at);

ALTER TABLE stripe_events
    ADD COLUMN source text NOT NULL DEFAULT 'webhook' CHECK (source IN ('webhook', 'list'));
CREATE INDEX stripe_events_object ON stripe_events (object_id, type);

-- What an organization may see for its money (dunning): derived from its invoices and subscriptions, never from usage.
CREATE TABLE billing_access (
    organization_id uuid PRIMARY KEY REFERENCES organizations,
    state text NOT NULL CHECK (state IN ('ok', 'grace', 'suspended', 'cancelled')),
    since timestamptz NOT NULL,
    first_failed_at timestamptz,
    deadline_at timestamptz,
    owed_cents bigint NOT NULL DEFAULT 0 CHECK (owed_cents >= 0),
    CHECK ((first_failed_at IS NULL) = (deadline_at IS NULL)),
    CHECK (state NOT IN ('grace', 'suspended') OR deadline_at IS NOT NULL)
);
COMMENT ON COLUMN billing_access.deadline_at IS '7 days after the first failure of what is still owed; later failures never move it';

-- What rings until it is cleared. A difference is seen first and rings only once it is old.
CREATE TABLE alarms (
    kind text NOT NULL,
    subject text NOT NULL,
    organization_id uuid,
    said text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    rang_at timestamptz,
    cleared_at timestamptz,
    PRIMARY KEY (kind, subject, first_seen_at)
);
COMMENT ON COLUMN alarms.organization_id IS 'null: of the installation, not of one tenant';
CREATE UNIQUE INDEX alarms_open ON alarms (kind, subject) WHERE cleared_at IS NULL;

-- Row-level security and grants, as in 0002. -----------------------------------------------------------------------------
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['stripe_prices', 'billing_access', 'alarms'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;

CREATE POLICY everyone ON stripe_prices FOR SELECT TO driftlock_api, driftlock_reader, driftlock_meter, driftlock_webhook
    USING (true);
GRANT SELECT ON stripe_prices TO driftlock_api, driftlock_reader, driftlock_meter, driftlock_webhook;

CREATE POLICY tenant ON billing_access TO driftlock_api, driftlock_reader
    USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization());
CREATE POLICY webhook ON billing_access TO driftlock_webhook USING (true) WITH CHECK (true);
GRANT SELECT ON billing_access TO driftlock_api, driftlock_reader;
GRANT SELECT, INSERT, UPDATE ON billing_access TO driftlock_webhook;

CREATE POLICY meter ON alarms TO driftlock_meter USING (true) WITH CHECK (true);
CREATE POLICY webhook ON alarms TO driftlock_webhook USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON alarms TO driftlock_meter, driftlock_webhook;

-- The receiver (in the API) puts events in and reads nothing back.
CREATE POLICY receiver ON stripe_events FOR INSERT TO driftlock_api
    WITH CHECK (state = 'stored' AND applied_at IS NULL AND attempts = 0);
GRANT INSERT ON stripe_events TO driftlock_api;

-- The applier: hours that Stripe rejected later are put in doubt, hours of an unlinked customer are frozen.
GRANT UPDATE (state, agreed_at, next_attempt_at, last_error) ON meter_hours TO driftlock_webhook;
GRANT DELETE ON billing_periods TO driftlock_webhook;

-- The reconciler holds drafts, and looks for the evidence of what is billed.
CREATE POLICY meter ON invoices_mirror TO driftlock_meter USING (true) WITH CHECK (true);
GRANT SELECT ON invoices_mirror TO driftlock_meter;
GRANT UPDATE (held_at, held_for, released_at) ON invoices_mirror TO driftlock_meter;
CREATE POLICY meter ON anomalies TO driftlock_meter USING (true) WITH CHECK (true);
GRANT SELECT (organization_id, created_at, id, first_event_id, blocks_topic_id, blocks_partition, frame, event)
    ON anomalies TO driftlock_meter;
CREATE POLICY meter ON cap_settings TO driftlock_meter USING (true) WITH CHECK (true);
GRANT SELECT ON cap_settings TO driftlock_meter;
CREATE POLICY meter ON source_topics TO driftlock_meter USING (true) WITH CHECK (true);
GRANT SELECT ON source_topics TO driftlock_meter;

-- The API links an organization's first customer when its checkout begins.
GRANT SELECT ON installation TO driftlock_api;
CREATE POLICY api ON installation FOR SELECT TO driftlock_api USING (true);
GRANT INSERT (id, organization_id, livemode, linked_at) ON billing_customers TO driftlock_api;
