-- Alerts out: where alerts go, by which rules, what was told of which episode, and how each delivery went.
-- Row-level security and grants are at the end; the rules are those of 0002. Nobody deletes: what is removed has deleted_at.

-- Where alerts go. `shown` is all that may be seen of an address that is itself a secret (Slack, PagerDuty).
CREATE TABLE alert_endpoints (
    organization_id uuid NOT NULL REFERENCES organizations,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    kind text NOT NULL CHECK (kind IN ('email', 'webhook', 'slack', 'pagerduty')),
    shown text NOT NULL CHECK (shown <> ''),
    event_types text[] NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    deleted_at timestamptz,
    disabled_at timestamptz,
    disabled_why text,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failing_since timestamptz,
    next_attempt_at timestamptz,
    PRIMARY KEY (organization_id, id),
    CHECK ((disabled_at IS NULL) = (disabled_why IS NULL))
);
COMMENT ON COLUMN alert_endpoints.event_types IS 'of usage and billing; anomalies come here by rules';
COMMENT ON COLUMN alert_endpoints.failures IS 'in a row; at 0 nothing is wrong and failing_since, next_attempt_at are null';
COMMENT ON COLUMN alert_endpoints.next_attempt_at IS 'nothing is sent to it before';

-- A version each: a webhook's signing secret, with overlap while it is rotated; Slack's address; PagerDuty's routing key.
CREATE TABLE alert_secrets (
    organization_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    ends_at timestamptz,
    PRIMARY KEY (organization_id, endpoint_id, version),
    FOREIGN KEY (organization_id, endpoint_id) REFERENCES alert_endpoints (organization_id, id)
);
COMMENT ON COLUMN alert_secrets.sealed IS 'AES-256-GCM under ALERTS_SECRET_KEY, bound to organization and endpoint (pipeline/alerts/sealed.py)';

CREATE TABLE alert_rules (
    organization_id uuid NOT NULL REFERENCES organizations,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    enabled boolean NOT NULL,
    min_severity text NOT NULL CHECK (min_severity IN ('low', 'medium', 'high', 'critical')),
    stream_pattern text NOT NULL CHECK (stream_pattern <> ''),
    kinds text[] NOT NULL,
    updates boolean NOT NULL,
    recovery boolean NOT NULL,
    group_by text NOT NULL CHECK (group_by IN ('stream', 'kind', 'rule')),
    cooldown_seconds integer NOT NULL CHECK (cooldown_seconds BETWEEN 0 AND 604800),
    quiet_from time,
    quiet_until time,
    quiet_zone text,
    quiet_below text CHECK (quiet_below IN ('low', 'medium', 'high', 'critical')),
    muted_until timestamptz,
    endpoint_ids uuid[] NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (organization_id, id),
    CHECK (num_nonnulls(quiet_from, quiet_until, quiet_zone) IN (0, 3))
);
COMMENT ON COLUMN alert_rules.kinds IS 'of anomalies; empty: every kind';
COMMENT ON COLUMN alert_rules.group_by IS 'what shares a cooldown: a stream''s episodes, a stream''s of one kind, or all of the rule';
COMMENT ON COLUMN alert_rules.quiet_below IS 'severities from this on are told in quiet hours too; null: none is';

-- What became of an episode under a rule, once: the key is the promise. `told` has rows in the outbox.
CREATE TABLE alert_episodes (
    organization_id uuid NOT NULL,
    rule_id uuid NOT NULL,
    anomaly_id uuid NOT NULL,
    fate text NOT NULL CHECK (fate IN ('told', 'muted', 'cooldown')),
    revision bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, rule_id, anomaly_id),
    FOREIGN KEY (organization_id, rule_id) REFERENCES alert_rules (organization_id, id)
);

-- When a group was last told, and how many of its episodes were held back since.
CREATE TABLE alert_groups (
    organization_id uuid NOT NULL,
    rule_id uuid NOT NULL,
    group_key text NOT NULL,
    told_at timestamptz,
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    PRIMARY KEY (organization_id, rule_id, group_key),
    FOREIGN KEY (organization_id, rule_id) REFERENCES alert_rules (organization_id, id)
);

-- The outbox also goes to endpoints: a row is spread over them once, when it is due.
ALTER TABLE outbox
    ADD COLUMN rule_id uuid,
    ADD COLUMN due_at timestamptz,
    ADD COLUMN spread_at timestamptz;
UPDATE outbox SET spread_at = created_at;
COMMENT ON COLUMN outbox.rule_id IS 'of a rule''s alert: it goes to the rule''s endpoints';
COMMENT ON COLUMN outbox.due_at IS 'not to endpoints before: quiet hours; null: at once';
COMMENT ON COLUMN outbox.spread_at IS 'when its deliveries to endpoints were written';
CREATE INDEX outbox_unspread ON outbox (created_at) WHERE spread_at IS NULL AND kind NOT LIKE 'account.%';

-- One for each row of the outbox and endpoint. `subject`: of one, deliveries to an endpoint keep their order.
CREATE TABLE alert_deliveries (
    organization_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    seq bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    outbox_id uuid NOT NULL REFERENCES outbox,
    endpoint_id uuid NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    created_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    gives_up_at timestamptz NOT NULL,
    delivered_at timestamptz,
    last_error text,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, outbox_id, endpoint_id),
    FOREIGN KEY (organization_id, endpoint_id) REFERENCES alert_endpoints (organization_id, id)
);
CREATE INDEX alert_deliveries_open ON alert_deliveries (next_attempt_at, seq) WHERE state = 'pending';
CREATE INDEX alert_deliveries_subject ON alert_deliveries (endpoint_id, subject, seq) WHERE state = 'pending';
CREATE INDEX alert_deliveries_listed ON alert_deliveries (organization_id, seq DESC);

CREATE TABLE alert_attempts (
    organization_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    at timestamptz NOT NULL,
    took_ms integer NOT NULL CHECK (took_ms >= 0),
    status integer,
    said text NOT NULL,
    PRIMARY KEY (organization_id, delivery_id, number),
    FOREIGN KEY (organization_id, delivery_id) REFERENCES alert_deliveries (organization_id, id)
);
COMMENT ON COLUMN alert_attempts.status IS 'of HTTP; null: none came, or it was an e-mail';

-- Whether a tenant may see an anomaly: null while the ledger does not know it yet. The sender of alerts reads neither the
-- ledger nor who has paid, only this answer.
CREATE FUNCTION anomaly_shown(of_organization uuid, anomaly uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
RETURN (
    SELECT CASE
        WHEN EXISTS (SELECT FROM billing_access WHERE organization_id = of_organization AND state = 'suspended') THEN false
        ELSE (SELECT bool_and(disposition <> 'free_withheld') FROM ledger
            WHERE organization_id = of_organization AND usage_id = anomaly)
    END
);
REVOKE EXECUTE ON FUNCTION anomaly_shown(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION anomaly_shown(uuid, uuid) TO driftlock_alerts;

-- Row-level security ---------------------------------------------------------------------------------------------------

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['alert_endpoints', 'alert_secrets', 'alert_rules', 'alert_episodes', 'alert_groups',
        'alert_deliveries', 'alert_attempts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO driftlock_api '
            'USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization())',
            name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['alert_rules', 'alert_episodes', 'alert_groups'] LOOP
        EXECUTE format('CREATE POLICY sink ON %I TO driftlock_sink USING (true) WITH CHECK (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['alert_endpoints', 'alert_secrets', 'alert_rules', 'alert_deliveries', 'alert_attempts'] LOOP
        EXECUTE format('CREATE POLICY alerts ON %I TO driftlock_alerts USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;

-- What the API may put into the outbox besides a person's mail: a test of an endpoint. The sender: that it disabled one.
DROP POLICY accounts_only ON outbox;
CREATE POLICY accounts_only ON outbox AS RESTRICTIVE FOR INSERT TO driftlock_accounts WITH CHECK (kind LIKE 'account.%');
CREATE POLICY api_only ON outbox AS RESTRICTIVE FOR INSERT TO driftlock_api
    WITH CHECK (kind LIKE 'account.%' OR kind = 'endpoint.test');
CREATE POLICY alerts_only ON outbox AS RESTRICTIVE FOR INSERT TO driftlock_alerts WITH CHECK (kind = 'endpoint.disabled');

-- Grants ---------------------------------------------------------------------------------------------------------------

GRANT SELECT, INSERT, UPDATE (name, event_types, deleted_at, disabled_at, disabled_why, failures, failing_since,
    next_attempt_at) ON alert_endpoints TO driftlock_api;
GRANT SELECT (organization_id, endpoint_id, version, created_at, ends_at), INSERT, UPDATE (ends_at) ON alert_secrets
    TO driftlock_api;
GRANT SELECT, INSERT, UPDATE (name, enabled, min_severity, stream_pattern, kinds, updates, recovery, group_by,
    cooldown_seconds, quiet_from, quiet_until, quiet_zone, quiet_below, muted_until, endpoint_ids, deleted_at)
    ON alert_rules TO driftlock_api;
GRANT SELECT ON alert_episodes, alert_groups, alert_deliveries, alert_attempts TO driftlock_api;
GRANT UPDATE (state, next_attempt_at, gives_up_at, last_error) ON alert_deliveries TO driftlock_api;

GRANT SELECT ON alert_rules TO driftlock_sink;
GRANT SELECT, INSERT ON alert_episodes TO driftlock_sink;
GRANT SELECT, INSERT, UPDATE ON alert_groups TO driftlock_sink;

GRANT SELECT, UPDATE (disabled_at, disabled_why, failures, failing_since, next_attempt_at) ON alert_endpoints
    TO driftlock_alerts;
GRANT SELECT ON alert_secrets, alert_rules TO driftlock_alerts;
GRANT SELECT, INSERT, UPDATE (state, attempts, next_attempt_at, delivered_at, last_error) ON alert_deliveries
    TO driftlock_alerts;
GRANT SELECT, INSERT ON alert_attempts TO driftlock_alerts;
GRANT INSERT (organization_id, kind, payload, dedupe_key, created_at, rule_id, due_at), UPDATE (spread_at) ON outbox
    TO driftlock_alerts;
