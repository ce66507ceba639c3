-- How young something may leave, and whose data stays, whatever role retention asks for. The proof that its functions
-- want can be computed by that role itself (sales.row_sums): it guards against mistakes, not against whoever has the
-- role's password. These two tables bound what that password can do. Only the migrator writes them.

-- `ages_by` is the date column that the caller of sales.retire_rows names; null where a function knows it by itself.
-- Of a table without a row here nothing leaves.
CREATE TABLE sales.minimum_age (
    relation text NOT NULL,
    ages_by text,
    age interval NOT NULL CHECK (age >= interval '1 day'),
    PRIMARY KEY (relation)
);
INSERT INTO sales.minimum_age (relation, ages_by, age) VALUES
    ('outbox_events', NULL, '90 days'),
    ('sessions', NULL, '30 days'),
    ('orders', 'order_month', '7 years'),
    ('order_lines', 'order_month', '7 years'),
    ('payments', 'order_month', '7 years');

CREATE TABLE sales.legal_hold (
    tenant_id text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id)
);

-- Raises HR002 unless everything before `ends` is older than the minimum age of that table, by that column: by another
-- date of the same rows, young ones would look old.
CREATE FUNCTION sales.require_old(relation text, ages_by text, ends timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    least CONSTANT interval := (
        SELECT bound.age
        FROM sales.minimum_age AS bound
        WHERE bound.relation = require_old.relation AND bound.ages_by IS NOT DISTINCT FROM require_old.ages_by
    );
BEGIN
    IF least IS NULL THEN
        RAISE EXCEPTION 'sales.minimum_age has no age of % by %', relation, coalesce(ages_by, 'itself') USING ERRCODE = 'HR002';
    END IF;
    IF (ends <= now() - least) IS NOT TRUE THEN
        RAISE EXCEPTION '% before % are not older than %, the minimum in sales.minimum_age', relation, ends, least
            USING ERRCODE = 'HR002';
    END IF;
END
$$;

-- Raises HR002 unless the caller holds every tenant that is under a legal hold.
CREATE FUNCTION sales.require_held(held text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    missing CONSTANT text := (
        SELECT min(tenant_id COLLATE "C") FROM sales.legal_hold WHERE (tenant_id = ANY (held)) IS NOT TRUE
    );
BEGIN
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'tenant % is under a legal hold in sales.legal_hold', missing USING ERRCODE = 'HR002';
    END IF;
END
$$;

-- What 0006 made is what each of these calls once it has looked at the bounds; role retention no longer reaches it. The
-- names that the command calls are in use again before this transaction ends.
-- squawk-ignore renaming-object
ALTER FUNCTION sales.retire_events(text, text[], jsonb) RENAME TO retire_proven_events;
-- squawk-ignore renaming-object
ALTER FUNCTION sales.retire_rows(date, text[], text[], text[], jsonb) RENAME TO retire_proven_rows;
-- squawk-ignore renaming-object
ALTER FUNCTION sales.retire_sessions(text, timestamptz, text[]) RENAME TO retire_seen_sessions;
-- squawk-ignore renaming-object
ALTER FUNCTION sales.erase_events(text, uuid[]) RENAME TO erase_named_events;

CREATE FUNCTION sales.retire_events(leaf text, held text[], proven jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC' AS $$
DECLARE
    part CONSTANT regclass := sales.leaf_of('sales.outbox_events', leaf);
    ends CONSTANT timestamptz := (
        SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''(.*)''\)') FROM pg_class WHERE oid = part
    );
BEGIN
    PERFORM sales.require_held(held);
    PERFORM sales.require_old('outbox_events', NULL, ends);
    RETURN sales.retire_proven_events(leaf, held, proven);
END
$$;

CREATE FUNCTION sales.retire_rows(month date, relations text[], ages_by text[], held text[], proven jsonb)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ends CONSTANT timestamptz := (month + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    PERFORM sales.require_held(held);
    FOR n IN 1 .. cardinality(relations) LOOP
        PERFORM sales.aged_relation(relations[n], ages_by[n]);
        PERFORM sales.require_old(relations[n], ages_by[n], ends);
    END LOOP;
    RETURN sales.retire_proven_rows(month, relations, ages_by, held, proven);
END
$$;

CREATE FUNCTION sales.retire_sessions(leaf text, before timestamptz, held text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sales.leaf_of('sales.sessions', leaf);
    PERFORM sales.require_held(held);
    PERFORM sales.require_old('sessions', NULL, before);
    RETURN sales.retire_seen_sessions(leaf, before, held);
END
$$;

-- An erasure has no minimum age: the person may ask for it at any time. A legal hold comes first.
CREATE FUNCTION sales.erase_events(tenant text, ids uuid[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM sales.legal_hold WHERE tenant_id = tenant) THEN
        RAISE EXCEPTION 'tenant % is under a legal hold in sales.legal_hold', tenant USING ERRCODE = 'HR002';
    END IF;
    RETURN sales.erase_named_events(tenant, ids);
END
$$;

-- Sessions leave through their function alone, too.
REVOKE DELETE ON sales.sessions FROM retention;
REVOKE EXECUTE ON FUNCTION
    sales.retire_proven_events(text, text[], jsonb),
    sales.retire_proven_rows(date, text[], text[], text[], jsonb),
    sales.retire_seen_sessions(text, timestamptz, text[]),
    sales.erase_named_events(text, uuid[])
    FROM retention;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sales FROM PUBLIC;
GRANT SELECT ON sales.minimum_age, sales.legal_hold TO retention;
GRANT EXECUTE ON FUNCTION
    sales.require_old(text, text, timestamptz),
    sales.retire_events(text, text[], jsonb),
    sales.retire_rows(date, text[], text[], text[], jsonb),
    sales.retire_sessions(text, timestamptz, text[]),
    sales.erase_events(text, uuid[])
    TO retention;
