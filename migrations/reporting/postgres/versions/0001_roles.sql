-- What all generations of this database share, made by the first one. None of the roles gets a password here:
-- `headrace migrate` sets them from the settings.

DO $$
DECLARE
    wanted name;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['reporting_writer', 'reporting_reader'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I LOGIN', wanted);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL; -- another database was migrated at this moment
        END;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), wanted);
    END LOOP;
    -- For staging.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO reporting_writer', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- What readers see: views on the live generation, later ones included.
CREATE SCHEMA IF NOT EXISTS report;
GRANT USAGE ON SCHEMA report TO reporting_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA report GRANT SELECT ON TABLES TO reporting_reader;
