-- Partitions made ahead, whole months at a time. Every table of schema sales that is partitioned by range gets them:
-- by a date, a month is split by hash of the tenant; by a timestamptz, into its days (UTC). There is no default
-- partition: a row beyond the last month is refused at once, instead of standing in that month's way later.

CREATE FUNCTION sales.make_partitions(from_day date, to_day date) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    root record;
    month date;
    made integer := 0;
BEGIN
    IF NOT coalesce(isfinite(from_day) AND isfinite(to_day) AND from_day <= to_day, false) THEN
        RAISE EXCEPTION 'expected a first and a last day, in this order, got % and %', from_day, to_day;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('sales.make_partitions', 0));
    FOR month IN SELECT generate_series(date_trunc('month', from_day::timestamp), to_day, '1 month') LOOP
        FOR root IN
            SELECT
                class.relname AS name,
                key.attname AS key,
                key.atttypid = 'timestamptz'::regtype AS by_day,
                CASE class.relreplident WHEN 'f' THEN 'FULL' ELSE 'DEFAULT' END AS identity
            FROM pg_partitioned_table AS partitioned
            JOIN pg_class AS class ON class.oid = partitioned.partrelid
            JOIN pg_attribute AS key ON key.attrelid = class.oid AND key.attnum = partitioned.partattrs[0]
            WHERE class.relnamespace = 'sales'::regnamespace
                AND NOT class.relispartition
                AND partitioned.partstrat = 'r'
                AND key.atttypid IN ('date'::regtype, 'timestamptz'::regtype)
            ORDER BY class.oid
        LOOP
            made := made + sales.make_month(root.name, root.key, root.by_day, root.identity, month);
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- One month of one table, built apart and attached when it is whole: unlike CREATE TABLE ... PARTITION OF the root,
-- that neither waits for readers of the root (a snapshot may take hours) nor lets writers queue up behind it.
-- The root's replica identity reaches no leaf by itself, so each is given it. Returns the number of leaves made:
-- none if the month is there.
CREATE FUNCTION sales.make_month(root name, key name, by_day boolean, identity text, month date) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hashes CONSTANT integer := 4;
    part CONSTANT text := root || to_char(month, '_YYYY_MM');
    next_month CONSTANT date := month + interval '1 month';
    -- A month that is older than the 90 days which events stay here ages as a whole: loading years of history
    -- makes a leaf for each such month, not thirty.
    whole CONSTANT boolean := by_day AND next_month < current_date - 90;
    -- So that a day's bounds do not depend on the session's time zone.
    utc CONSTANT text := CASE WHEN by_day THEN ' 00:00:00+00' ELSE '' END;
    leaf record;
    made integer := 0;
BEGIN
    IF to_regclass(format('sales.%I', part)) IS NOT NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('CREATE TABLE sales.%I (LIKE sales.%I INCLUDING ALL) %s', part, root, CASE
        WHEN whole THEN ''
        WHEN by_day THEN format('PARTITION BY RANGE (%I)', key)
        ELSE 'PARTITION BY HASH (tenant_id)'
    END);
    FOR leaf IN
        SELECT part AS name, NULL AS bounds
        WHERE whole
        UNION ALL
        SELECT part || to_char(day, '_DD'), format('FROM (%L) TO (%L)', day || utc, (day + 1) || utc)
        FROM (SELECT generate_series(month, next_month - 1, '1 day')::date AS day) AS days
        WHERE by_day AND NOT whole
        UNION ALL
        SELECT part || '_' || remainder, format('WITH (MODULUS %s, REMAINDER %s)', hashes, remainder)
        FROM generate_series(0, hashes - 1) AS remainder
        WHERE NOT by_day
    LOOP
        IF leaf.bounds IS NOT NULL THEN
            EXECUTE format('CREATE TABLE sales.%I PARTITION OF sales.%I FOR VALUES %s', leaf.name, part, leaf.bounds);
        END IF;
        EXECUTE format('ALTER TABLE sales.%I REPLICA IDENTITY %s', leaf.name, identity);
        made := made + 1;
    END LOOP;
    EXECUTE format(
        'ALTER TABLE sales.%I ATTACH PARTITION sales.%I FOR VALUES FROM (%L) TO (%L)',
        root, part, month || utc, next_month || utc
    );
    RETURN made;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sales FROM PUBLIC;
