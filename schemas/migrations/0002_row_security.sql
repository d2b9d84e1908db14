-- Row-level security of every table, and the least each role needs. tests/integration/policies.txt is the committed list.

-- 1. Every table: enabled, forced, and one policy for its owner (migrations, seeds, backups), which FORCE would shut out too.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;

-- 2. The API and readers see one tenant, that of their transaction.
CREATE POLICY tenant ON organizations TO driftlock_api, driftlock_reader
    USING (id = current_organization()) WITH CHECK (id = current_organization());
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['anomalies', 'anomaly_status', 'billing_customers', 'subscriptions', 'billing_periods',
        'ledger', 'usage_counters', 'invoices_mirror', 'billing_actions'] LOOP
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO driftlock_api, driftlock_reader '
            'USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization())',
            name);
    END LOOP;
END $$;
CREATE POLICY everyone ON plans FOR SELECT TO driftlock_api, driftlock_reader, driftlock_meter, driftlock_webhook
    USING (true);
CREATE POLICY everyone ON plan_versions FOR SELECT
    TO driftlock_api, driftlock_reader, driftlock_sink, driftlock_meter, driftlock_webhook USING (true);

-- 3. Processes that serve all tenants: a policy for each table they work on; what they may do there is in the grants.
DO $$
DECLARE
    role text;
    tables text[];
    name text;
BEGIN
    FOR role, tables IN VALUES
        ('sink', ARRAY['anomalies', 'subscriptions', 'billing_periods', 'ledger_heads', 'ledger', 'usage_counters',
            'meter_hours', 'billed_through', 'scored_through', 'source_topics', 'sink_offsets', 'installation']),
        ('meter', ARRAY['organizations', 'billing_customers', 'subscriptions', 'billing_periods', 'ledger',
            'usage_counters', 'meter_hours', 'billing_actions', 'ledger_heads', 'sink_offsets', 'installation']),
        ('webhook', ARRAY['organizations', 'billing_customers', 'subscriptions', 'billing_periods', 'ledger_heads',
            'invoices_mirror', 'stripe_events', 'billing_actions', 'installation'])
    LOOP
        FOREACH name IN ARRAY tables LOOP
            EXECUTE format('CREATE POLICY %I ON %I TO %I USING (true) WITH CHECK (true)',
                role, name, 'driftlock_' || role);
        END LOOP;
    END LOOP;
END $$;

-- 4. Grants. Nobody deletes; nobody but the owner changes plans.
GRANT SELECT ON plans, plan_versions TO driftlock_api, driftlock_reader, driftlock_meter, driftlock_webhook;
GRANT SELECT ON plan_versions TO driftlock_sink;

GRANT SELECT ON organizations, anomalies, anomaly_status, billing_customers, subscriptions, billing_periods, ledger,
    usage_counters, invoices_mirror, billing_actions TO driftlock_api, driftlock_reader;
GRANT INSERT ON organizations, anomaly_status, billing_actions TO driftlock_api;
GRANT UPDATE (name, active, version) ON organizations TO driftlock_api;

-- The sink writes payloads (explanation, trace) and cannot read them back.
GRANT INSERT, UPDATE ON anomalies TO driftlock_sink;
GRANT SELECT (organization_id, created_at, id, revision) ON anomalies TO driftlock_sink;
GRANT SELECT ON subscriptions, installation TO driftlock_sink;
GRANT SELECT, INSERT ON billing_periods, source_topics TO driftlock_sink;
GRANT INSERT ON ledger TO driftlock_sink;
GRANT SELECT (organization_id, usage_id) ON ledger TO driftlock_sink;
GRANT SELECT, INSERT, UPDATE ON ledger_heads, usage_counters, billed_through, scored_through, sink_offsets
    TO driftlock_sink;
GRANT SELECT, INSERT ON meter_hours TO driftlock_sink;
GRANT UPDATE (units, version) ON meter_hours TO driftlock_sink;

GRANT SELECT ON organizations, billing_customers, subscriptions, billing_periods, ledger, usage_counters, meter_hours,
    billing_actions, ledger_heads, sink_offsets, installation TO driftlock_meter;
GRANT UPDATE (version, sent_version, sent_units, sent_identifier, sent_at, state, agreed_at, attempts, next_attempt_at, last_error)
    ON meter_hours TO driftlock_meter;
GRANT INSERT ON billing_actions TO driftlock_meter;

GRANT SELECT ON organizations, ledger_heads, installation TO driftlock_webhook;
GRANT SELECT, INSERT, UPDATE ON billing_customers, subscriptions, billing_periods, invoices_mirror, stripe_events
    TO driftlock_webhook;
GRANT UPDATE ON ledger_heads TO driftlock_webhook;
GRANT SELECT, INSERT ON billing_actions TO driftlock_webhook;
