-- Who may connect to the source. Roles belong to the whole cluster, so another database may have made them already.
-- None gets a password here: `headrace migrate` sets them from the settings.

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('app_writer', 'LOGIN'),
            ('cdc_reader', 'LOGIN REPLICATION'),
            ('reporter_reader', 'LOGIN'),
            ('retention', 'LOGIN')
        ) AS roles (name, attributes)
    LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
                EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.attributes);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL; -- another database was migrated at this moment
        END;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), wanted.name);
        EXECUTE format('GRANT USAGE ON SCHEMA sales TO %I', wanted.name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;
