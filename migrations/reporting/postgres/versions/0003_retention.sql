-- Ageing out. First what all generations of this database share, made by the first one; the role gets no password
-- here: `headrace migrate` sets it from the settings.

DO $$
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reporting_retention') THEN
            CREATE ROLE reporting_retention LOGIN;
        END IF;
    EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL; -- another database was migrated at this moment
    END;
    -- Temporary tables list what is deleted in batches.
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO reporting_retention', current_database());
END
$$;

CREATE SCHEMA IF NOT EXISTS retention;

-- What the sinks refuse: rows of one part of the policy (`Table.retention`) whose date (`Table.ages_by`) is before
-- `before`, but for tenants that a legal hold keeps: `held`, a JSON array. Sinks read it in each transaction; whoever
-- changes it locks the table first, and so waits for them.
CREATE TABLE IF NOT EXISTS retention.cutoff (
    part varchar(64) COLLATE "C" NOT NULL,
    before date NOT NULL,
    held text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cutoff_pkey PRIMARY KEY (part)
);

-- Events of erased persons: never inserted again.
CREATE TABLE IF NOT EXISTS retention.erased_event (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    event_id varchar(36) COLLATE "C" NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT erased_event_pkey PRIMARY KEY (tenant_id, event_id)
);

GRANT USAGE ON SCHEMA retention TO reporting_writer, reporting_retention;
GRANT SELECT ON retention.cutoff, retention.erased_event TO reporting_writer;
GRANT SELECT, INSERT, UPDATE ON retention.cutoff, retention.erased_event TO reporting_retention;

-- Then this generation, later tables too: one of your own needs no grants. How far it has landed is not retention's.
GRANT USAGE ON SCHEMA reporting_gN TO reporting_retention;
GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA reporting_gN TO reporting_retention;
ALTER DEFAULT PRIVILEGES IN SCHEMA reporting_gN GRANT SELECT, DELETE ON TABLES TO reporting_retention;
REVOKE DELETE ON reporting_gN.checkpoint FROM reporting_retention;
REVOKE ALL ON reporting_gN.schema_version FROM reporting_retention;
