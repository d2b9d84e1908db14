-- The first schema. Row-level security of every table is in 0002; roles exist before (schemas/migrations.py).
-- Times are timestamptz in UTC and half open; counts are bigint; money is NUMERIC in cents; nothing is a float.

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO driftlock_api, driftlock_sink, driftlock_meter, driftlock_webhook, driftlock_reader;

CREATE FUNCTION current_organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('driftlock.organization_id', true), '')::uuid;
COMMENT ON FUNCTION current_organization() IS 'the tenant of this transaction; null outside tenant(), and null sees nothing';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is insert-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION add_counts(a bigint[], b bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT coalesce(array_agg(coalesce(x, 0) + coalesce(y, 0) ORDER BY i), '{}')
    FROM unnest(a, b) WITH ORDINALITY AS pairs (x, y, i)
);
COMMENT ON FUNCTION add_counts(bigint[], bigint[]) IS 'the sum of two histograms, bin by bin';

-- One row. `livemode` is referenced by every table that holds objects of Stripe: test and live can never mix.
CREATE TABLE installation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    livemode boolean NOT NULL UNIQUE DEFAULT false,
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch > 0)
);
COMMENT ON COLUMN installation.epoch IS 'part of each identifier sent to Stripe; raised by every restore';
INSERT INTO installation DEFAULT VALUES;

CREATE TABLE organizations (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    active boolean NOT NULL DEFAULT true,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN organizations.version IS 'of the control message that tells workers of it';

-- Anomalies ------------------------------------------------------------------------------------------------------------

CREATE TABLE anomalies (
    organization_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    id uuid NOT NULL,
    revision bigint NOT NULL,
    stream text NOT NULL,
    event_type text NOT NULL,
    kind text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    last_at timestamptz NOT NULL,
    count bigint NOT NULL,
    open boolean NOT NULL,
    calibrated boolean NOT NULL,
    surprisal bigint NOT NULL,
    extrapolated boolean NOT NULL,
    reference_n bigint NOT NULL,
    score_bits bigint NOT NULL,
    channels jsonb NOT NULL,
    explanation jsonb NOT NULL,
    metrics jsonb NOT NULL,
    first_event_id uuid NOT NULL,
    blocks_topic_id text NOT NULL,
    blocks_partition integer NOT NULL,
    frame bigint NOT NULL,
    event bigint NOT NULL,
    detector_version text NOT NULL,
    trace text,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, created_at, id)
) PARTITION BY RANGE (created_at);
COMMENT ON COLUMN anomalies.created_at IS 'received time of the episode''s first event; the partition key, never changes';
COMMENT ON COLUMN anomalies.surprisal IS '-log2 of the p-value in units of 2^-16 bit, as every *_bits';
CREATE INDEX anomalies_id ON anomalies (organization_id, id);

CREATE TABLE anomalies_default PARTITION OF anomalies DEFAULT;

-- Creates the monthly partitions from `from_month` on, moving out of the default partition what already lies there.
CREATE FUNCTION create_anomaly_partitions(from_month timestamptz, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz;
    next timestamptz;
    name text;
    made integer := 0;
BEGIN
    IF months NOT BETWEEN 1 AND 120 THEN
        RAISE EXCEPTION 'months must be 1 to 120, not %', months;
    END IF;
    PERFORM pg_advisory_xact_lock(7226190273);
    FOR i IN 0 .. months - 1 LOOP
        first := date_trunc('month', from_month) + make_interval(months => i);
        next := first + interval '1 month';
        name := 'anomalies_' || to_char(first, 'YYYYMM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE anomalies INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
        EXECUTE format(
            'WITH moved AS (DELETE FROM anomalies_default WHERE created_at >= %L AND created_at < %L RETURNING *) '
            'INSERT INTO %I SELECT * FROM moved', first, next, name);
        EXECUTE format('ALTER TABLE anomalies ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, next);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
REVOKE EXECUTE ON FUNCTION create_anomaly_partitions(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_anomaly_partitions(timestamptz, integer) TO driftlock_sink;

-- The tenant's word on an anomaly: the row with the largest version is its status, the others are its history.
CREATE TABLE anomaly_status (
    organization_id uuid NOT NULL,
    anomaly_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    status text NOT NULL CHECK (status IN ('open', 'acknowledged', 'resolved', 'false_positive')),
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL,
    note text NOT NULL DEFAULT '',
    PRIMARY KEY (organization_id, anomaly_id, version)
);

-- Plans, customers, periods --------------------------------------------------------------------------------------------

CREATE TABLE plans (
    plan text PRIMARY KEY,
    title text NOT NULL
);

CREATE TABLE plan_versions (
    plan text NOT NULL REFERENCES plans,
    version integer NOT NULL CHECK (version > 0),
    monthly_cents numeric(18, 0) NOT NULL CHECK (monthly_cents >= 0),
    included bigint NOT NULL CHECK (included >= 0),
    overage_cents numeric(18, 12) CHECK (overage_cents > 0),
    cap_percent integer NOT NULL CHECK (cap_percent >= 100),
    requests_per_minute integer NOT NULL CHECK (requests_per_minute > 0),
    streams integer NOT NULL CHECK (streams > 0),
    retention_days integer NOT NULL CHECK (retention_days > 0),
    PRIMARY KEY (plan, version)
);
COMMENT ON COLUMN plan_versions.overage_cents IS 'cents for each unit over the included ones; null: no unit over them is ever billed';

CREATE TABLE billing_customers (
    id text PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    livemode boolean NOT NULL DEFAULT false REFERENCES installation (livemode),
    linked_at timestamptz NOT NULL,
    unlinked_at timestamptz,
    UNIQUE (organization_id, id)
);
COMMENT ON TABLE billing_customers IS 'customers at Stripe; one with unlinked_at set is frozen';
CREATE UNIQUE INDEX billing_customers_linked ON billing_customers (organization_id) WHERE unlinked_at IS NULL;

CREATE TABLE subscriptions (
    id text PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    customer_id text NOT NULL,
    livemode boolean NOT NULL DEFAULT false REFERENCES installation (livemode),
    plan text NOT NULL,
    plan_version integer NOT NULL,
    status text NOT NULL CHECK (status IN (
        'incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'canceled', 'unpaid', 'paused')),
    anchor timestamptz NOT NULL,
    ended_at timestamptz,
    updated_at timestamptz NOT NULL,
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, customer_id) REFERENCES billing_customers (organization_id, id),
    FOREIGN KEY (plan, plan_version) REFERENCES plan_versions (plan, version)
);
COMMENT ON COLUMN subscriptions.anchor IS 'Stripe''s billing_cycle_anchor: periods begin at it and at its monthly returns';

-- Half open [starts_at, ends_at); those of an organization do not overlap. Written under the lock of ledger_heads.
CREATE TABLE billing_periods (
    organization_id uuid NOT NULL REFERENCES organizations,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
    plan text NOT NULL,
    plan_version integer NOT NULL,
    subscription_id text,
    PRIMARY KEY (organization_id, starts_at),
    FOREIGN KEY (plan, plan_version) REFERENCES plan_versions (plan, version),
    FOREIGN KEY (organization_id, subscription_id) REFERENCES subscriptions (organization_id, id)
);
COMMENT ON COLUMN billing_periods.subscription_id IS 'null: the free plan, of which nothing is sent to Stripe';

-- The ledger -----------------------------------------------------------------------------------------------------------

-- The row that every writer of an organization's ledger locks first; it holds the end of the hash chain.
-- No reference to organizations: what was billed is never cascaded away.
CREATE TABLE ledger_heads (
    organization_id uuid PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(hash) = 32)
);

CREATE TABLE ledger (
    organization_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    kind text NOT NULL CHECK (kind IN ('usage', 'correction', 'credit', 'waive')),
    disposition text NOT NULL CHECK (disposition IN (
        'billable', 'capped', 'free_withheld', 'warmup', 'rescored', 'waived')),
    usage_id uuid NOT NULL,
    part smallint NOT NULL DEFAULT 0,
    corrects uuid,
    count bigint NOT NULL CHECK (count >= 0),
    units bigint NOT NULL,
    stream text NOT NULL,
    occurred_at timestamptz NOT NULL,
    arrived_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    meter_hour timestamptz NOT NULL CHECK (extract(epoch FROM meter_hour) % 3600 = 0),
    late boolean NOT NULL DEFAULT false,
    period_start timestamptz NOT NULL,
    plan text NOT NULL,
    plan_version integer NOT NULL,
    customer_id text,
    blocks_topic_id text NOT NULL,
    blocks_partition integer NOT NULL,
    frame bigint NOT NULL,
    event bigint NOT NULL,
    usage_topic_id text NOT NULL,
    usage_partition integer NOT NULL,
    usage_offset bigint NOT NULL,
    detector_version text NOT NULL,
    reason text NOT NULL DEFAULT '',
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (organization_id, seq),
    UNIQUE (organization_id, usage_id, part),
    CHECK (kind <> 'usage' OR units BETWEEN 0 AND count),
    CHECK ((kind IN ('correction', 'credit', 'waive')) = (corrects IS NOT NULL))
);
COMMENT ON COLUMN ledger.usage_id IS 'the dedupe key; of a usage record it is the anomaly''s id';
COMMENT ON COLUMN ledger.part IS 'a record split at included or at the cap has parts 0, 1, 2, each with its disposition';
COMMENT ON COLUMN ledger.count IS 'what the record said';
COMMENT ON COLUMN ledger.units IS 'what this entry adds to its disposition; 0 if rescored, negative for a credit';
COMMENT ON COLUMN ledger.customer_id IS 'at Stripe when it was entered; null: no total is sent for it';
COMMENT ON COLUMN ledger.hash IS 'sha256 of prev_hash and of the canonical bytes of this row (billing/ledger.py)';
CREATE INDEX ledger_meter_hour ON ledger (organization_id, meter_hour);

-- The rollup of the ledger, by period and UTC day of occurred_at, and what was scored and is never billed.
CREATE TABLE usage_counters (
    organization_id uuid NOT NULL,
    period_start timestamptz NOT NULL,
    day date NOT NULL,
    billable bigint NOT NULL DEFAULT 0,
    capped bigint NOT NULL DEFAULT 0,
    free_withheld bigint NOT NULL DEFAULT 0,
    warmup bigint NOT NULL DEFAULT 0,
    rescored bigint NOT NULL DEFAULT 0,
    waived bigint NOT NULL DEFAULT 0,
    entries bigint NOT NULL DEFAULT 0,
    scored_events bigint NOT NULL DEFAULT 0,
    duplicate_events bigint NOT NULL DEFAULT 0,
    opened bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (organization_id, period_start, day)
);
COMMENT ON COLUMN usage_counters.entries IS 'rows of the ledger that are summed here';
COMMENT ON COLUMN usage_counters.opened IS 'opened episodes; element i + 1 counts those with floor(-log2 p) = i, the 64th all above';

-- One total to be sent to Stripe. The sink writes units and raises version; the sender writes the rest, and raises version
-- too where Stripe shows another total.
CREATE TABLE meter_hours (
    organization_id uuid NOT NULL,
    customer_id text NOT NULL,
    hour timestamptz NOT NULL CHECK (extract(epoch FROM hour) % 3600 = 0),
    livemode boolean NOT NULL DEFAULT false REFERENCES installation (livemode),
    units bigint NOT NULL CHECK (units >= 0),
    version bigint NOT NULL CHECK (version > 0),
    sent_version bigint NOT NULL DEFAULT 0,
    sent_units bigint,
    sent_identifier text CHECK (length(sent_identifier) <= 100),
    sent_at timestamptz,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'unconfirmed', 'confirmed', 'frozen')),
    agreed_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    PRIMARY KEY (organization_id, customer_id, hour),
    FOREIGN KEY (organization_id, customer_id) REFERENCES billing_customers (organization_id, id),
    CHECK (sent_version <= version)
);
COMMENT ON COLUMN meter_hours.units IS 'billable units of the hour less its credits: the absolute total, never a delta';
COMMENT ON COLUMN meter_hours.agreed_at IS 'first of the two reads of Stripe''s summary, ten minutes apart, that agreed';
CREATE INDEX meter_hours_open ON meter_hours (hour) WHERE state IN ('pending', 'unconfirmed') OR sent_version < version;

-- How far each stream was billed: an unknown id that starts at or below it is a rescoring, never a second bill.
CREATE TABLE billed_through (
    organization_id uuid NOT NULL,
    stream text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    frame bigint NOT NULL,
    event bigint NOT NULL,
    PRIMARY KEY (organization_id, stream, topic_id)
);

-- How far what was scored is counted: frames of a partition come in order, so one number replaces an id per frame.
CREATE TABLE scored_through (
    organization_id uuid NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    frame bigint NOT NULL,
    PRIMARY KEY (organization_id, topic_id, partition)
);

-- Sinks ----------------------------------------------------------------------------------------------------------------

-- The topic ids whose offsets are valid. The first of a name is taken as it is; a later one only by `driftlock sink accept`.
CREATE TABLE source_topics (
    topic text NOT NULL,
    topic_id text NOT NULL,
    accepted_at timestamptz NOT NULL,
    PRIMARY KEY (topic, topic_id)
);

-- Where each sink is, moved in the transaction that writes the rows. `owner` fences: a writer that is not it aborts.
CREATE TABLE sink_offsets (
    consumer text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    topic text NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    owner uuid NOT NULL,
    generation bigint NOT NULL DEFAULT 1,
    written bigint NOT NULL DEFAULT 0,
    not_anomaly bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    dead_letters bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (consumer, topic_id, partition)
);
COMMENT ON COLUMN sink_offsets.written IS 'records that became rows; with the three below: every record read since offset 0';

-- Stripe ---------------------------------------------------------------------------------------------------------------

CREATE TABLE invoices_mirror (
    id text PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    customer_id text NOT NULL,
    subscription_id text,
    livemode boolean NOT NULL DEFAULT false REFERENCES installation (livemode),
    number text,
    status text NOT NULL,
    currency text NOT NULL,
    total_cents bigint NOT NULL,
    amount_due_cents bigint NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    hosted_url text,
    fetched_at timestamptz NOT NULL,
    FOREIGN KEY (organization_id, customer_id) REFERENCES billing_customers (organization_id, id)
);

CREATE TABLE stripe_events (
    id text PRIMARY KEY,
    type text NOT NULL,
    livemode boolean NOT NULL DEFAULT false REFERENCES installation (livemode),
    object_id text,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    applied_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    state text NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'applied', 'ignored', 'dead'))
);
CREATE INDEX stripe_events_open ON stripe_events (received_at) WHERE state = 'stored';

-- Who did what about money: insert-only and hash-chained per organization, as the ledger is.
CREATE TABLE billing_actions (
    organization_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    before jsonb,
    after jsonb,
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (organization_id, seq)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger', 'anomaly_status', 'billing_actions', 'plan_versions'] LOOP
        EXECUTE format(
            'CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;
