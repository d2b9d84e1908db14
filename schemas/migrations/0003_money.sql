-- Money: what a tenant's plan says for it, the tenant's cap, alerts with their outbox, credit notes, the chain of actions.
-- Row-level security and grants of each are at the end; the rules are those of 0002.

-- Terms ----------------------------------------------------------------------------------------------------------------

-- What an operator agreed with a tenant on top of a plan. Insert-only: the newest version of a plan counts, whole; null is
-- "as the plan says". included and overage_cents hold from the first period that starts at or after set_at; the rest at once.
CREATE TABLE plan_overrides (
    organization_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    plan text NOT NULL REFERENCES plans,
    included bigint CHECK (included >= 0),
    overage_cents numeric(18, 12) CHECK (overage_cents > 0),
    cap_percent integer CHECK (cap_percent >= 100),
    requests_per_minute integer CHECK (requests_per_minute > 0),
    streams integer CHECK (streams > 0),
    retention_days integer CHECK (retention_days > 0),
    set_at timestamptz NOT NULL,
    set_by text NOT NULL CHECK (set_by <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    PRIMARY KEY (organization_id, version)
);

-- What the tenant chose for units over its cap. Insert-only: for a usage record that version counts which was the newest
-- when it arrived, so raising a cap is never retroactive, and the books can be made again from Kafka.
CREATE TABLE cap_settings (
    organization_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    mode text NOT NULL CHECK (mode IN ('soft', 'block', 'allow')),
    cap_percent integer CHECK (cap_percent BETWEEN 100 AND 100000),
    set_at timestamptz NOT NULL,
    set_by text NOT NULL CHECK (set_by <> ''),
    PRIMARY KEY (organization_id, version)
);
COMMENT ON COLUMN cap_settings.cap_percent IS 'of the included units; null: that of the plan or of its override';
COMMENT ON COLUMN cap_settings.mode IS 'soft: units over the cap are not billed; block: and intake by HTTP ends; allow: all are billed';

ALTER TABLE subscriptions
    ADD COLUMN next_plan text,
    ADD COLUMN next_plan_version integer,
    ADD FOREIGN KEY (next_plan, next_plan_version) REFERENCES plan_versions (plan, version),
    ADD CHECK ((next_plan IS NULL) = (next_plan_version IS NULL));
COMMENT ON COLUMN subscriptions.next_plan IS 'a downgrade that waits: the plan of the period after the present one';

-- A period keeps the anchor that it came from: a subscription's own moves with an upgrade, and a short month clamps a start.
ALTER TABLE billing_periods ADD COLUMN anchor timestamptz CHECK (anchor <= starts_at);
UPDATE billing_periods p SET anchor = coalesce(
    (SELECT s.anchor FROM subscriptions s WHERE s.id = p.subscription_id),
    (SELECT min(f.starts_at) FROM billing_periods f
        WHERE f.organization_id = p.organization_id AND f.subscription_id IS NULL));
COMMENT ON COLUMN billing_periods.anchor IS 'the next period begins at its next monthly return; null: the subscription''s, else starts_at';

ALTER TABLE organizations ADD COLUMN billing_email text CHECK (billing_email ~ '^[^@\s<>,;]+@[^@\s<>,;]+$');
COMMENT ON COLUMN organizations.billing_email IS 'where e-mails about usage and money go; null: nowhere yet, they wait';

-- The ledger -----------------------------------------------------------------------------------------------------------

-- A record's parts say where its units lie: 0 within the included ones, 1 over them and up to the cap, 2 over the cap.
-- Credits, waivers and corrections change billable units only. The split of later usage never looks at what they take away,
-- so nothing that was capped becomes billable by them, and the books can be made again in any order of the two.
ALTER TABLE ledger ADD CHECK (kind = 'usage' OR disposition = 'billable');
COMMENT ON COLUMN ledger.part IS 'of a usage record: 0 within the included units, 1 over them up to the cap, 2 over the cap';
COMMENT ON COLUMN ledger.customer_id IS 'at Stripe when it was entered; null: no hour''s total holds it (free plan, credit note)';

-- What was taken back of a record, and how much of a period: these indexes hold no usage.
CREATE INDEX ledger_corrects ON ledger (organization_id, corrects) WHERE corrects IS NOT NULL;
CREATE INDEX ledger_credits ON ledger (organization_id, period_start) WHERE kind = 'credit';

ALTER TABLE usage_counters
    ADD COLUMN adjusted bigint NOT NULL DEFAULT 0,
    ADD COLUMN moved_in bigint NOT NULL DEFAULT 0 CHECK (moved_in >= 0);
COMMENT ON COLUMN usage_counters.billable IS 'units of usage entries; what the bill counts is billable + adjusted';
COMMENT ON COLUMN usage_counters.adjusted IS 'units of credits, waivers and corrections, all of them billable ones';
COMMENT ON COLUMN usage_counters.moved_in IS 'units that corrections moved here from the plan before, contained in adjusted; the split counts them';

-- Credits of a period that is closed: Stripe's hour can't be lowered any more, so the tenant gets a credit note.
CREATE TABLE credit_notes (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    period_start timestamptz NOT NULL,
    customer_id text,
    livemode boolean NOT NULL DEFAULT false REFERENCES installation (livemode),
    units bigint NOT NULL CHECK (units > 0),
    cents bigint NOT NULL CHECK (cents >= 0),
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'issued', 'nothing_due', 'refused')),
    stripe_id text,
    issued_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    PRIMARY KEY (organization_id, id)
);
COMMENT ON COLUMN credit_notes.id IS 'the usage_id of the credit in the ledger';
COMMENT ON COLUMN credit_notes.cents IS 'the period''s price before this credit less its price after it: notes of a period add up exactly';
CREATE INDEX credit_notes_open ON credit_notes (created_at) WHERE state = 'pending';

-- Actions --------------------------------------------------------------------------------------------------------------

-- The row that every writer of an organization's actions locks first (after ledger_heads, where both are locked).
-- Actions of the whole installation have the organization 00000000-0000-0000-0000-000000000000.
CREATE TABLE action_heads (
    organization_id uuid PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(hash) = 32)
);
COMMENT ON COLUMN billing_actions.actor IS 'who: a user, an API key''s id, a process, or an operator''s name';

-- Alerts ---------------------------------------------------------------------------------------------------------------

-- Each threshold once a period. Of several that one batch crosses only the highest is told; the others are here untold.
CREATE TABLE usage_alerts (
    organization_id uuid NOT NULL,
    period_start timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('forecast', 'percent', 'overage', 'cap', 'spend')),
    threshold bigint NOT NULL,
    used bigint NOT NULL,
    crossed_at timestamptz NOT NULL,
    told boolean NOT NULL,
    PRIMARY KEY (organization_id, period_start, kind, threshold)
);
COMMENT ON COLUMN usage_alerts.threshold IS 'percent of the included units (percent, forecast), units (overage, cap), or cents (spend)';
COMMENT ON COLUMN usage_alerts.used IS 'units of the period, capped and withheld ones too, when it was crossed';

-- What is to be told to a tenant, written in the transaction that made it true; senders claim rows with SKIP LOCKED.
CREATE TABLE outbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind ~ '^[a-z]+\.[a-z_]+$'),
    payload jsonb NOT NULL,
    dedupe_key text NOT NULL,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    UNIQUE (organization_id, dedupe_key)
);
COMMENT ON COLUMN outbox.kind IS 'the event''s type, as schemas/notices.py names it: usage.threshold, billing.payment_failed, ...';
COMMENT ON COLUMN outbox.dedupe_key IS 'says what it is about, so that it is told once: INSERT ... ON CONFLICT DO NOTHING';
CREATE INDEX outbox_open ON outbox (created_at) WHERE delivered_at IS NULL;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['plan_overrides', 'cap_settings'] LOOP
        EXECUTE format(
            'CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;

-- Row-level security ---------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA public TO driftlock_jobs, driftlock_alerts;

DO $$
DECLARE
    name text;
    role text;
    tables text[];
BEGIN
    FOR name IN SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['plan_overrides', 'cap_settings', 'credit_notes', 'usage_alerts', 'action_heads',
        'ledger_heads', 'meter_hours'] LOOP
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO driftlock_api, driftlock_reader '
            'USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization())',
            name);
    END LOOP;
    FOR role, tables IN VALUES
        ('sink', ARRAY['plans', 'plan_overrides', 'cap_settings', 'usage_alerts', 'outbox']),
        ('meter', ARRAY['plan_overrides', 'credit_notes', 'action_heads', 'outbox']),
        ('webhook', ARRAY['plan_overrides', 'ledger', 'usage_counters', 'meter_hours', 'action_heads', 'outbox']),
        ('jobs', ARRAY['installation', 'organizations', 'plans', 'plan_versions', 'billing_customers', 'subscriptions',
            'billing_periods', 'ledger_heads', 'ledger', 'usage_counters', 'meter_hours', 'billing_actions',
            'anomaly_status', 'invoices_mirror', 'plan_overrides', 'cap_settings', 'credit_notes', 'action_heads', 'usage_alerts', 'outbox']),
        ('alerts', ARRAY['organizations', 'outbox'])
    LOOP
        FOREACH name IN ARRAY tables LOOP
            EXECUTE format('CREATE POLICY %I ON %I TO %I USING (true) WITH CHECK (true)',
                role, name, 'driftlock_' || role);
        END LOOP;
    END LOOP;
END $$;

-- The API books one thing: a credit of one unit to the tenant it acts for.
CREATE POLICY credits_only ON ledger AS RESTRICTIVE FOR INSERT TO driftlock_api
    WITH CHECK (kind = 'credit' AND units = -1);

-- Grants ---------------------------------------------------------------------------------------------------------------

GRANT SELECT ON plan_overrides, cap_settings, credit_notes, usage_alerts, action_heads TO driftlock_api, driftlock_reader;
GRANT INSERT ON cap_settings, credit_notes, action_heads, ledger TO driftlock_api;
GRANT SELECT ON ledger_heads, meter_hours TO driftlock_api;
GRANT UPDATE (seq, hash) ON ledger_heads, action_heads TO driftlock_api;
GRANT UPDATE (adjusted, entries) ON usage_counters TO driftlock_api;
GRANT UPDATE (units, version) ON meter_hours TO driftlock_api;
GRANT UPDATE (billing_email) ON organizations TO driftlock_api;

GRANT SELECT ON plans, plan_overrides, cap_settings TO driftlock_sink;
GRANT SELECT, INSERT ON usage_alerts TO driftlock_sink;
GRANT INSERT ON outbox TO driftlock_sink, driftlock_meter, driftlock_webhook, driftlock_jobs;
GRANT SELECT (organization_id, dedupe_key) ON outbox TO driftlock_sink, driftlock_meter, driftlock_webhook, driftlock_jobs;

GRANT SELECT ON plan_overrides, credit_notes, action_heads TO driftlock_meter;
GRANT UPDATE (state, stripe_id, issued_at, attempts, next_attempt_at, last_error) ON credit_notes TO driftlock_meter;
GRANT INSERT, UPDATE ON action_heads TO driftlock_meter;

-- The applier of webhooks starts and ends periods, and moves what was booked to the plan before (billing/changes.py).
GRANT SELECT ON plan_overrides TO driftlock_webhook;
GRANT INSERT ON ledger_heads TO driftlock_webhook;
GRANT SELECT, INSERT ON ledger, usage_counters, meter_hours TO driftlock_webhook;
GRANT UPDATE (adjusted, moved_in, entries) ON usage_counters TO driftlock_webhook;
GRANT UPDATE (units, version) ON meter_hours TO driftlock_webhook;
GRANT SELECT, INSERT, UPDATE ON action_heads TO driftlock_webhook;

GRANT SELECT ON installation, organizations, plans, plan_versions, billing_customers, subscriptions, billing_periods,
    ledger_heads, ledger, usage_counters, meter_hours, billing_actions, invoices_mirror, plan_overrides, cap_settings,
    credit_notes, action_heads, usage_alerts, anomaly_status TO driftlock_jobs;
GRANT INSERT ON anomaly_status, billing_periods, ledger_heads, ledger, billing_actions, plan_overrides, cap_settings, credit_notes,
    action_heads TO driftlock_jobs;
GRANT UPDATE ON ledger_heads, action_heads TO driftlock_jobs;
GRANT UPDATE (adjusted, entries) ON usage_counters TO driftlock_jobs;
GRANT UPDATE (units, version) ON meter_hours TO driftlock_jobs;
GRANT UPDATE (billing_email) ON organizations TO driftlock_jobs;

GRANT SELECT (id, name, billing_email) ON organizations TO driftlock_alerts;
GRANT SELECT ON outbox TO driftlock_alerts;
GRANT UPDATE (delivered_at, attempts, next_attempt_at, last_error) ON outbox TO driftlock_alerts;
