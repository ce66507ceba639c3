-- A value that is too long for a record is refused here, where its writer learns of it in its own transaction. Capture
-- would cut it, and the row would become a dead letter.

-- `headrace migrate` replaces this function when HEADRACE_OLTP__MAX_VALUE_BYTES says another number. It has no SET,
-- which would keep it from being inlined.
CREATE FUNCTION sales.max_value_bytes() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1048576;

-- A trigger's function; its argument is the column whose value is too long. A trigger, not a CHECK: the limit may be
-- lowered below rows that are there, and a restored backup must take them.
CREATE FUNCTION sales.refuse_long_value() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    column_name CONSTANT text := TG_ARGV[0];
BEGIN
    RAISE EXCEPTION 'the value of % has % bytes, at most % are captured',
        column_name, octet_length(to_jsonb(NEW) ->> column_name), sales.max_value_bytes()
        USING
            ERRCODE = 'check_violation',
            SCHEMA = TG_TABLE_SCHEMA,
            TABLE = TG_TABLE_NAME,
            COLUMN = column_name,
            CONSTRAINT = TG_NAME,
            HINT = 'Store large content elsewhere and write a reference to it. The limit is '
                'HEADRACE_OLTP__MAX_VALUE_BYTES, applied by headrace migrate.';
END
$$;

CREATE TRIGGER outbox_payload_size BEFORE INSERT ON sales.outbox_events
    FOR EACH ROW WHEN (octet_length(NEW.payload::text) > sales.max_value_bytes())
    EXECUTE FUNCTION sales.refuse_long_value('payload');
CREATE TRIGGER outbox_headers_size BEFORE INSERT ON sales.outbox_events
    FOR EACH ROW WHEN (octet_length(NEW.headers::text) > sales.max_value_bytes())
    EXECUTE FUNCTION sales.refuse_long_value('headers');

-- Capture ignores an update of an event, so whoever has read the event would keep the old one.
CREATE FUNCTION sales.refuse_event_update() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'event % can''t be changed: an event is immutable, and may have been read', OLD.event_id
        USING
            ERRCODE = 'restrict_violation',
            SCHEMA = TG_TABLE_SCHEMA,
            TABLE = TG_TABLE_NAME,
            HINT = 'Write a new event that corrects it.';
END
$$;
CREATE TRIGGER outbox_events_immutable BEFORE UPDATE ON sales.outbox_events
    FOR EACH ROW EXECUTE FUNCTION sales.refuse_event_update();

REVOKE EXECUTE ON FUNCTION sales.max_value_bytes(), sales.refuse_long_value(), sales.refuse_event_update() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.max_value_bytes() TO app_writer;
