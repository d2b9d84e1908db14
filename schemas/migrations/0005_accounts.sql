-- Accounts: users, their sessions, members of organizations, API keys, settings of tenants, intake that can be repeated,
-- and the order in which anomalies became visible. Tokens and keys are kept as sha256 of 256 random bits, passwords as argon2id.
-- Two roles: driftlock_accounts finds out who somebody is and sees no telemetry; driftlock_api acts for one tenant.

-- Users ----------------------------------------------------------------------------------------------------------------

-- A user exists from the moment its e-mail is verified.
CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND email ~ '^[^@\s<>,;]+@[^@\s<>,;]+$'),
    name text NOT NULL CHECK (name <> ''),
    password_hash text NOT NULL CHECK (password_hash ~ '^\$argon2id\$'),
    created_at timestamptz NOT NULL,
    password_changed_at timestamptz NOT NULL
);

-- One attempt to sign up, with the organization that it will make. Who verified last does not take over another's password.
CREATE TABLE sign_ups (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    email text NOT NULL,
    name text NOT NULL,
    password_hash text NOT NULL,
    organization_id uuid NOT NULL,
    organization_name text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE TABLE password_resets (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id uuid REFERENCES users,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
COMMENT ON COLUMN password_resets.user_id IS 'null: nobody has that e-mail; the row is written all the same, so that both take as long';

-- A login. Its refresh tokens replace each other; one that comes again after it was replaced ends the session.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    organization_id uuid NOT NULL,
    user_agent text NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_why text CHECK (ended_why IN ('logout', 'everywhere', 'password', 'reuse'))
);
CREATE INDEX sessions_user ON sessions (user_id) WHERE ended_at IS NULL;

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    issued_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- Failures of the present window, by a hash of what is throttled: an address, an e-mail, both.
CREATE TABLE login_failures (
    subject bytea PRIMARY KEY CHECK (length(subject) = 32),
    failures integer NOT NULL,
    since timestamptz NOT NULL
);

-- Organizations --------------------------------------------------------------------------------------------------------

CREATE TABLE memberships (
    organization_id uuid NOT NULL REFERENCES organizations,
    user_id uuid NOT NULL REFERENCES users,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    since timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE invitations (
    organization_id uuid NOT NULL REFERENCES organizations,
    id uuid NOT NULL,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    invited_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    withdrawn_at timestamptz,
    PRIMARY KEY (organization_id, id)
);

CREATE TABLE api_keys (
    id text PRIMARY KEY CHECK (id ~ '^[a-z2-7]{16}$'),
    organization_id uuid NOT NULL REFERENCES organizations,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    name text NOT NULL CHECK (name <> ''),
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    ends_at timestamptz,
    revoked_at timestamptz,
    replaces text REFERENCES api_keys
);
COMMENT ON COLUMN api_keys.ends_at IS 'of a rotated key: until then both are good';
CREATE INDEX api_keys_organization ON api_keys (organization_id, created_at);

CREATE TABLE organization_settings (
    organization_id uuid PRIMARY KEY REFERENCES organizations,
    version integer NOT NULL CHECK (version > 0),
    sensitivity numeric(4, 3) CHECK (sensitivity BETWEEN 0 AND 1),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL
);
COMMENT ON COLUMN organization_settings.sensitivity IS '0 strict to 1 sensitive; null: the installation''s';

CREATE TABLE stream_settings (
    organization_id uuid NOT NULL REFERENCES organizations,
    stream text NOT NULL CHECK (octet_length(stream) BETWEEN 1 AND 128),
    version integer NOT NULL CHECK (version > 0),
    sensitivity numeric(4, 3) CHECK (sensitivity BETWEEN 0 AND 1),
    entity_field text CHECK (octet_length(entity_field) BETWEEN 1 AND 256),
    paused boolean NOT NULL,
    maintenance_until timestamptz,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    PRIMARY KEY (organization_id, stream)
);

-- A request with an Idempotency-Key and what it was answered, for a day. No answer: it is under way, or its process died.
CREATE TABLE intake_requests (
    organization_id uuid NOT NULL,
    key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
    body_hash bytea NOT NULL CHECK (length(body_hash) = 32),
    begun_at timestamptz NOT NULL,
    answer jsonb,
    PRIMARY KEY (organization_id, key_hash)
);

-- The order in which anomalies become visible --------------------------------------------------------------------------

-- A reader that takes only rows of transactions below pg_snapshot_xmin(pg_current_snapshot()) skips none, although they
-- commit in another order than they begin.
ALTER TABLE anomalies ADD COLUMN written_in xid8 NOT NULL DEFAULT pg_current_xact_id();
COMMENT ON COLUMN anomalies.written_in IS 'the transaction that wrote this revision';
CREATE INDEX anomalies_written ON anomalies (organization_id, written_in, id);

CREATE FUNCTION stamp_written_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.written_in := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER written_in BEFORE UPDATE ON anomalies FOR EACH ROW EXECUTE FUNCTION stamp_written_in();

CREATE FUNCTION notify_anomalies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('driftlock_anomalies', organization_id::text) FROM (SELECT DISTINCT organization_id FROM fresh) AS o;
    RETURN NULL;
END $$;
CREATE TRIGGER notify_insert AFTER INSERT ON anomalies REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION notify_anomalies();
CREATE TRIGGER notify_update AFTER UPDATE ON anomalies REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION notify_anomalies();

-- The outbox keeps no token once its e-mail is sent.
CREATE FUNCTION forget_secrets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.payload := NEW.payload - 'token' - 'to';
    RETURN NEW;
END $$;
CREATE TRIGGER forget_secrets BEFORE UPDATE OF delivered_at ON outbox FOR EACH ROW
    WHEN (NEW.delivered_at IS NOT NULL AND NEW.kind LIKE 'account.%') EXECUTE FUNCTION forget_secrets();

-- Row-level security ---------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA public TO driftlock_accounts;

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
    FOREACH name IN ARRAY ARRAY['memberships', 'invitations', 'api_keys', 'organization_settings', 'stream_settings',
        'intake_requests', 'outbox'] LOOP
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO driftlock_api '
            'USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization())',
            name);
    END LOOP;
    -- Who somebody is must be known before a tenant is.
    FOREACH name IN ARRAY ARRAY['users', 'sign_ups', 'password_resets', 'sessions', 'refresh_tokens', 'login_failures',
        'memberships', 'invitations', 'api_keys', 'outbox'] LOOP
        EXECUTE format('CREATE POLICY accounts ON %I TO driftlock_accounts USING (true) WITH CHECK (true)', name);
    END LOOP;
    -- A sign-up opens the books of the organization that it makes, and of no other.
    FOREACH name IN ARRAY ARRAY['billing_periods', 'subscriptions', 'ledger_heads', 'billing_actions', 'action_heads'] LOOP
        EXECUTE format(
            'CREATE POLICY sign_up ON %I TO driftlock_accounts '
            'USING (organization_id = current_organization()) WITH CHECK (organization_id = current_organization())',
            name);
    END LOOP;
END $$;
CREATE POLICY accounts ON organizations FOR SELECT TO driftlock_accounts USING (true);
CREATE POLICY sign_up ON organizations TO driftlock_accounts
    USING (id = current_organization()) WITH CHECK (id = current_organization());
CREATE POLICY prune ON intake_requests FOR DELETE TO driftlock_accounts USING (begun_at < now() - interval '1 day');
CREATE POLICY prune_seen ON intake_requests FOR SELECT TO driftlock_accounts USING (begun_at < now() - interval '1 day');
CREATE POLICY everyone_accounts ON plan_versions FOR SELECT TO driftlock_accounts USING (true);
CREATE POLICY members_only ON users FOR SELECT TO driftlock_api USING (EXISTS (
    SELECT FROM memberships m WHERE m.user_id = users.id AND m.organization_id = current_organization()
        AND m.ended_at IS NULL));
CREATE POLICY accounts_only ON outbox AS RESTRICTIVE FOR INSERT TO driftlock_api, driftlock_accounts
    WITH CHECK (kind LIKE 'account.%');

-- Grants ---------------------------------------------------------------------------------------------------------------

GRANT SELECT, INSERT ON users, sign_ups, password_resets, sessions, refresh_tokens, login_failures, memberships
    TO driftlock_accounts;
GRANT UPDATE (password_hash, password_changed_at) ON users TO driftlock_accounts;
GRANT UPDATE (used_at) ON sign_ups, password_resets, refresh_tokens TO driftlock_accounts;
GRANT UPDATE (organization_id, last_used_at, ended_at, ended_why) ON sessions TO driftlock_accounts;
GRANT UPDATE (failures, since) ON login_failures TO driftlock_accounts;
GRANT UPDATE (role, since, ended_at) ON memberships TO driftlock_accounts;
GRANT SELECT, UPDATE (accepted_at) ON invitations TO driftlock_accounts;
GRANT SELECT, UPDATE (last_used_at) ON api_keys TO driftlock_accounts;
GRANT DELETE ON sign_ups, password_resets, sessions, refresh_tokens, login_failures, intake_requests TO driftlock_accounts;
GRANT SELECT (begun_at) ON intake_requests TO driftlock_accounts;
GRANT SELECT ON organizations, subscriptions, plan_versions TO driftlock_accounts;
GRANT INSERT ON organizations, outbox, billing_actions TO driftlock_accounts;
GRANT UPDATE (billing_email) ON organizations TO driftlock_accounts;
GRANT SELECT, INSERT ON billing_periods TO driftlock_accounts;
GRANT SELECT, INSERT, UPDATE ON ledger_heads, action_heads TO driftlock_accounts;
GRANT SELECT (organization_id, dedupe_key) ON outbox TO driftlock_accounts, driftlock_api;

GRANT SELECT (id, email, name) ON users TO driftlock_api;
GRANT SELECT, UPDATE (role, ended_at) ON memberships TO driftlock_api;
GRANT SELECT (organization_id, id, email, role, invited_by, created_at, expires_at, accepted_at, withdrawn_at), INSERT,
    UPDATE (withdrawn_at) ON invitations TO driftlock_api;
GRANT SELECT (id, organization_id, name, scopes, created_by, created_at, last_used_at, ends_at, revoked_at, replaces),
    INSERT, UPDATE (ends_at, revoked_at) ON api_keys TO driftlock_api;
GRANT SELECT, INSERT, UPDATE ON organization_settings, stream_settings, intake_requests TO driftlock_api;
GRANT INSERT ON outbox TO driftlock_api;
