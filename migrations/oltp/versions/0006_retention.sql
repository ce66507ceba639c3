-- What ageing needs of the source. Its rule: nothing leaves unless the caller names count and sum of hashes of exactly
-- what is there, compared in the transaction in which it leaves. So a job that is wrong can't remove what it has not
-- proven; what it may do at all are the functions granted at the end.

-- Sessions by day, as the outbox, so that ageing is a drop there too. Postgres has no unique constraint across
-- partitions without their key: started_at joins the primary key, and the shop never changes it.

-- The three names are in use again before this transaction ends.
-- squawk-ignore renaming-table
ALTER TABLE sales.sessions RENAME TO sessions_whole;
-- squawk-ignore renaming-object
ALTER INDEX sales.sessions_pkey RENAME TO sessions_whole_pkey;
-- squawk-ignore renaming-object
ALTER INDEX sales.sessions_last_seen_idx RENAME TO sessions_whole_last_seen_idx;

CREATE TABLE sales.sessions (
    LIKE sales.sessions_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    PRIMARY KEY (tenant_id, session_id, started_at)
) PARTITION BY RANGE (started_at);
CREATE INDEX sessions_last_seen_idx ON sales.sessions (last_seen_at);

-- This month too: a session may begin before `headrace migrate` has made the partitions.
SELECT sales.make_month('sessions', 'started_at', true, 'DEFAULT', months.month)
FROM (
    SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month
    UNION
    SELECT date_trunc('month', started_at AT TIME ZONE 'UTC')::date FROM sales.sessions_whole
) AS months;
INSERT INTO sales.sessions SELECT * FROM sales.sessions_whole;
-- squawk-ignore ban-drop-table
DROP TABLE sales.sessions_whole;
GRANT SELECT, INSERT, UPDATE ON sales.sessions TO app_writer;
GRANT SELECT, DELETE ON sales.sessions TO retention;

-- Retention makes partitions ahead with its own role; make_month runs within it. Migrations have this timeout anyway.
ALTER FUNCTION sales.make_partitions(date, date) SECURITY DEFINER SET lock_timeout = '60s';

-- The same numbers as schemas/checksums.py. These two have no SET: it would keep them from being inlined, and their names
-- are resolved here, once.
CREATE FUNCTION sales.text_hash(given text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || left(md5(given), 15))::bit(60)::bigint;

CREATE FUNCTION sales.event_hash(event_id uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sales.text_hash(event_id::text);

-- Raises HR001 that names the first key of which count and sum differ. Both are {key: [count, sum]}, and a key that
-- only one of them has differs.
CREATE FUNCTION sales.require_proven(place text, here jsonb, proven jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    differs record;
BEGIN
    SELECT coalesce(counted.key, named.key) AS name, counted.value AS counted, named.value AS named INTO differs
    FROM jsonb_each(here) AS counted
    FULL JOIN jsonb_each(proven) AS named ON named.key = counted.key
    WHERE (counted.value ->> 0)::numeric IS DISTINCT FROM (named.value ->> 0)::numeric
        OR (counted.value ->> 1)::numeric IS DISTINCT FROM (named.value ->> 1)::numeric
    ORDER BY coalesce(counted.key, named.key) COLLATE "C"
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '%: count and sum of % are %, proven were %',
            place, differs.name, coalesce(differs.counted::text, 'none'), coalesce(differs.named::text, 'none')
            USING ERRCODE = 'HR001';
    END IF;
END
$$;

-- With an older snapshot a lock comes too late: what was committed before it would be dropped unseen.
CREATE FUNCTION sales.require_read_committed() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'expected a transaction at READ COMMITTED, which sees what is there once the lock is held'
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
END
$$;

-- The leaf partition of that name; no other table is one. Raises undefined_table.
CREATE FUNCTION sales.leaf_of(root regclass, leaf text) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part CONSTANT regclass := (
        SELECT class.oid
        FROM pg_class AS class
        WHERE class.relnamespace = 'sales'::regnamespace
            AND class.relname = leaf
            AND class.relkind = 'r'
            AND class.relispartition
            AND pg_partition_root(class.oid) = root
    );
BEGIN
    IF part IS NULL THEN
        RAISE EXCEPTION '% is no leaf partition of %', leaf, root USING ERRCODE = 'undefined_table';
    END IF;
    RETURN part;
END
$$;

-- From the top down, as writers do, so that neither waits for the other in a ring. The root, which all trade passes
-- through, only where its month is about to go with its last day.
CREATE FUNCTION sales.lock_above(leaf regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    above CONSTANT regclass := (SELECT inhparent FROM pg_inherits WHERE inhrelid = leaf);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = above AND inhrelid <> leaf) THEN
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', pg_partition_root(leaf));
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', above);
END
$$;

-- A leaf, and the month above it when that has no other.
CREATE FUNCTION sales.drop_leaf(leaf regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    above CONSTANT regclass := (SELECT inhparent FROM pg_inherits WHERE inhrelid = leaf);
    root CONSTANT regclass := pg_partition_root(leaf);
BEGIN
    EXECUTE format('DROP TABLE %s', leaf);
    IF above <> root AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = above) THEN
        EXECUTE format('DROP TABLE %s', above);
    END IF;
END
$$;

-- Whether tenants whose rows are held have any there. Whom nobody holds is "IS NOT TRUE" everywhere below: a null
-- among `held` then means less is held, and must be proven; it never hides a row from the proof.
CREATE FUNCTION sales.holds_rows(relation regclass, held text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holds boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE tenant_id = ANY ($1))', relation) INTO holds USING held;
    RETURN holds;
END
$$;

-- Of one leaf of the outbox: the different events of each tenant that is not held, and the sum of their hashes.
CREATE FUNCTION sales.event_sums(leaf text, held text[])
RETURNS TABLE (tenant_id text, events bigint, total numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT tenant_id::text, count(*), sum(sales.event_hash(event_id)) '
        'FROM (SELECT DISTINCT tenant_id, event_id FROM %s WHERE (tenant_id = ANY ($1)) IS NOT TRUE) AS events '
        'GROUP BY tenant_id',
        sales.leaf_of('sales.outbox_events', leaf)
    ) USING held;
END
$$;

-- Ends one leaf of the outbox, or the events in it of all tenants that are not held. `proven` is
-- {tenant: [different events, sum of hashes]}. Returns how many events went. Raises HR001 for what is not proven,
-- lock_not_available when somebody is at work on the leaf; the root is locked last, and for an instant.
CREATE FUNCTION sales.retire_events(leaf text, held text[], proven jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    part CONSTANT regclass := sales.leaf_of('sales.outbox_events', leaf);
    here jsonb;
    gone bigint;
BEGIN
    PERFORM sales.require_read_committed();
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', part);
    SELECT coalesce(jsonb_object_agg(tenant_id, jsonb_build_array(events, total)), '{}'), coalesce(sum(events), 0)
    INTO here, gone
    FROM sales.event_sums(leaf, held);
    PERFORM sales.require_proven(leaf, here, proven);
    IF sales.holds_rows(part, held) THEN
        EXECUTE format('DELETE FROM %s WHERE (tenant_id = ANY ($1)) IS NOT TRUE', part) USING held;
    ELSE
        PERFORM sales.lock_above(part);
        PERFORM sales.drop_leaf(part);
    END IF;
    RETURN gone;
END
$$;

-- Events that a person's erasure names, and no others: a right to DELETE would be one to all of them.
CREATE FUNCTION sales.erase_events(tenant text, ids uuid[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM sales.outbox_events WHERE tenant_id = tenant AND event_id = ANY (ids);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

-- A table of schema sales that ages by that column, a date. Raises undefined_column for everything else, so that
-- what is put into a statement below is the catalog's own.
CREATE FUNCTION sales.aged_relation(relation text, ages_by text) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    root CONSTANT regclass := (
        SELECT class.oid
        FROM pg_class AS class
        JOIN pg_attribute AS key ON key.attrelid = class.oid AND key.attnum > 0
        WHERE class.relnamespace = 'sales'::regnamespace
            AND class.relname = relation
            AND class.relkind IN ('r', 'p')
            AND NOT class.relispartition
            AND key.attname = ages_by
            AND key.atttypid = 'date'::regtype
    );
BEGIN
    IF root IS NULL THEN
        RAISE EXCEPTION 'schema sales has no table % with a date %', relation, ages_by
            USING ERRCODE = 'undefined_column';
    END IF;
    RETURN root;
END
$$;

-- The partition that holds a whole month and nothing else, or null where the table has none.
CREATE FUNCTION sales.month_partition(root regclass, ages_by text, month date) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT child.oid::regclass
    FROM pg_partitioned_table AS partitioned
    JOIN pg_attribute AS key ON key.attrelid = partitioned.partrelid AND key.attnum = partitioned.partattrs[0]
    JOIN pg_inherits ON pg_inherits.inhparent = partitioned.partrelid
    JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
    WHERE partitioned.partrelid = root
        AND partitioned.partstrat = 'r'
        AND partitioned.partnatts = 1
        AND key.attname = ages_by
        AND pg_get_expr(child.relpartbound, child.oid)
        = format('FOR VALUES FROM (%L) TO (%L)', month, (month + interval '1 month')::date)
$$;

-- SQL for a row's canonical text (schemas/checksums.py). Of the catalog's columns, not of those declared: one that the
-- archive does not know changes the sum, so its rows stay.
CREATE FUNCTION sales.row_text(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(
        format('coalesce(''='' || ' || CASE atttypid
            WHEN 'timestamptz'::regtype THEN '(extract(epoch FROM %I) * 1000000)::bigint'
            WHEN 'date'::regtype THEN '(%I - date ''1970-01-01'')'
            ELSE '%I'
        END || '::text, ''~'')', attname),
        ' || chr(31) || '
        ORDER BY attname COLLATE "C"
    )
    FROM pg_attribute
    WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

-- WHERE of one month's rows of tenants that are not held; the month is a literal, so that other months' partitions
-- are not even locked.
CREATE FUNCTION sales.of_month(ages_by text, month date) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF date_trunc('month', month) IS DISTINCT FROM month::timestamp THEN
        RAISE EXCEPTION 'expected the first day of a month, got %', month;
    END IF;
    RETURN format(
        '%1$I >= %2$L AND %1$I < %3$L AND (tenant_id = ANY ($1)) IS NOT TRUE',
        ages_by, month, (month + interval '1 month')::date
    );
END
$$;

-- Count and sum of hashes of one month's rows of tenants that are not held.
CREATE FUNCTION sales.row_sums(relation text, ages_by text, month date, held text[])
RETURNS TABLE (rows bigint, total numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    root CONSTANT regclass := sales.aged_relation(relation, ages_by);
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT count(*), coalesce(sum(sales.text_hash(%s)), 0) FROM %s WHERE %s',
        sales.row_text(root), root, sales.of_month(ages_by, month)
    ) USING held;
END
$$;

-- Deletes these rows; returns count and sum of what has gone, rows that were changed a moment ago included as they
-- were then. So nothing can come between a proof and its deletion. One plan for all checks of foreign keys: planning
-- each of them anew made 95,000 orders take 42 s instead of 4.5 s.
CREATE FUNCTION sales.delete_rows(relation text, ages_by text, month date, held text[])
RETURNS TABLE (rows bigint, total numeric)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    root CONSTANT regclass := sales.aged_relation(relation, ages_by);
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH gone AS (DELETE FROM %s WHERE %s RETURNING sales.text_hash(%s) AS hash) '
        'SELECT count(*), coalesce(sum(hash), 0) FROM gone',
        root, sales.of_month(ages_by, month), sales.row_text(root)
    ) USING held;
END
$$;

-- Drops a month's partitions, children before those they refer to. Where a partition is referred to, Postgres wants
-- it detached first, and joins it with every table that refers to it, under the locks of all of them: by an index,
-- that takes as long as the month is large (0.4 s for 100,000 orders); by a hash, as long as all of history.
CREATE FUNCTION sales.drop_months(roots text[], parts text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    root regclass;
BEGIN
    -- First who refers to them, then from the parents down: a payment is written before its order is looked at, an
    -- order before its lines.
    FOR root IN
        SELECT locked.root
        FROM (
            SELECT DISTINCT conrelid::regclass AS root, 0 AS place
            FROM pg_constraint
            WHERE contype = 'f'
                AND conparentid = 0
                AND confrelid = ANY (roots::regclass[])
                AND conrelid <> ALL (roots::regclass[])
            UNION ALL
            SELECT given.root::regclass, -given.place FROM unnest(roots) WITH ORDINALITY AS given (root, place)
        ) AS locked
        ORDER BY locked.place = 0 DESC, locked.place
    LOOP
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', root);
    END LOOP;
    FOR n IN 1 .. cardinality(parts) LOOP
        IF EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = parts[n]::regclass) THEN
            EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', roots[n], parts[n]);
        END IF;
        EXECUTE format('DROP TABLE %s', parts[n]);
    END LOOP;
END
$$;

-- Ends one month of tables that age together, children first, all or nothing. `ages_by` names the date column of each,
-- `proven` is {relation: [rows, sum of hashes]}. Where the month is a partition and nobody in it is held, it is
-- dropped, else its rows are deleted. Returns {relation: rows gone}. Raises HR001 for what is not proven,
-- foreign_key_violation where a table that was not named refers to it, lock_not_available when somebody is at work.
CREATE FUNCTION sales.retire_rows(month date, relations text[], ages_by text[], held text[], proven jsonb)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    roots text[] := '{}'; -- of the partitions, in the order given
    parts text[] := '{}';
    part regclass;
    whole boolean := true;
    sums record;
    here jsonb := '{}';
BEGIN
    PERFORM sales.require_read_committed();
    -- Parents first, as they are written. A stronger lock would keep out foreign keys' checks too, and with them
    -- trade of other months: Postgres plans such a check for all partitions once a session. A payment that comes in
    -- meanwhile is found by its foreign key, when its order goes.
    FOR n IN REVERSE cardinality(relations) .. 1 LOOP
        part := sales.month_partition(sales.aged_relation(relations[n], ages_by[n]), ages_by[n], month);
        IF part IS NOT NULL THEN
            EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', part);
            roots := sales.aged_relation(relations[n], ages_by[n])::text || roots;
            parts := part::text || parts;
            whole := whole AND NOT sales.holds_rows(part, held);
        END IF;
    END LOOP;
    FOR n IN 1 .. cardinality(relations) LOOP
        part := sales.month_partition(sales.aged_relation(relations[n], ages_by[n]), ages_by[n], month);
        IF whole AND part IS NOT NULL THEN
            SELECT * INTO sums FROM sales.row_sums(relations[n], ages_by[n], month, held);
        ELSE
            SELECT * INTO sums FROM sales.delete_rows(relations[n], ages_by[n], month, held);
        END IF;
        here := here || jsonb_build_object(relations[n], jsonb_build_array(sums.rows, sums.total));
    END LOOP;
    PERFORM sales.require_proven(to_char(month, 'YYYY-MM'), here, proven);
    IF whole THEN
        PERFORM sales.drop_months(roots, parts);
    END IF;
    RETURN (SELECT coalesce(jsonb_object_agg(key, value -> 0), '{}') FROM jsonb_each(here));
END
$$;

-- Ends the sessions of one leaf that were last seen before `before`, by a drop where that is all of them. Returns
-- their number. Raises lock_not_available at once rather than make sessions wait behind it.
CREATE FUNCTION sales.retire_sessions(leaf text, before timestamptz, held text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' SET datestyle = 'ISO' AS $$
DECLARE
    part CONSTANT regclass := sales.leaf_of('sales.sessions', leaf);
    ends CONSTANT timestamptz := (
        SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''(.*)''\)') FROM pg_class WHERE oid = part
    );
    gone bigint;
    stays boolean;
BEGIN
    PERFORM sales.require_read_committed();
    IF ends <= before THEN -- no session can begin there any more
        PERFORM sales.lock_above(part);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', part);
        EXECUTE format(
            'SELECT count(*), coalesce(bool_or(last_seen_at >= $1 OR tenant_id = ANY ($2)), false) FROM %s', part
        ) INTO gone, stays USING before, held;
        IF NOT stays THEN
            PERFORM sales.drop_leaf(part);
            RETURN gone;
        END IF;
    END IF;
    EXECUTE format('DELETE FROM %s WHERE last_seen_at < $1 AND (tenant_id = ANY ($2)) IS NOT TRUE', part)
    USING before, held;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sales FROM PUBLIC;
GRANT SELECT ON sales.orders, sales.order_lines, sales.payments, sales.outbox_events TO retention;
GRANT EXECUTE ON FUNCTION
    sales.make_partitions(date, date),
    sales.event_sums(text, text[]),
    sales.retire_events(text, text[], jsonb),
    sales.erase_events(text, uuid[]),
    sales.row_sums(text, text, date, text[]),
    sales.retire_rows(date, text[], text[], text[], jsonb),
    sales.retire_sessions(text, timestamptz, text[])
    TO retention;
