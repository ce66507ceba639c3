-- The shop's tables. Every captured column refuses what cannot be carried to reporting without loss, so that the
-- shop learns of it at once instead of an operator from a dead letter: NaN, infinities, years outside 1 to 9999.
-- Identifiers end with no space, because SQL Server takes 'a' and 'a ' for the same key.

CREATE TABLE sales.orders (
    tenant_id varchar(64) NOT NULL CHECK (tenant_id <> '' AND tenant_id = rtrim(tenant_id)),
    order_month date NOT NULL CHECK (extract(day FROM order_month) = 1),
    order_id varchar(64) NOT NULL CHECK (order_id <> '' AND order_id = rtrim(order_id)),
    customer_id varchar(64) NOT NULL CHECK (customer_id <> '' AND customer_id = rtrim(customer_id)),
    status varchar(32) NOT NULL,
    total numeric(19,4) NOT NULL CHECK (total <> 'NaN'),
    currency varchar(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    placed_at timestamptz NOT NULL
        CHECK (placed_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    approved_at timestamptz CHECK (approved_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    shipped_at timestamptz CHECK (shipped_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    delivered_at timestamptz CHECK (delivered_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    cancelled_at timestamptz CHECK (cancelled_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CHECK (created_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_by varchar(64) NOT NULL DEFAULT current_user,
    updated_at timestamptz NOT NULL DEFAULT now()
        CHECK (updated_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_by varchar(64) NOT NULL DEFAULT current_user,
    deleted_at timestamptz CHECK (deleted_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    deleted_by varchar(64),
    PRIMARY KEY (tenant_id, order_month, order_id),
    CONSTRAINT orders_deleted_by_someone CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
) PARTITION BY RANGE (order_month);

CREATE TABLE sales.order_lines (
    tenant_id varchar(64) NOT NULL CHECK (tenant_id <> '' AND tenant_id = rtrim(tenant_id)),
    order_month date NOT NULL CHECK (extract(day FROM order_month) = 1),
    order_id varchar(64) NOT NULL CHECK (order_id <> '' AND order_id = rtrim(order_id)),
    line_no integer NOT NULL CHECK (line_no > 0),
    sku varchar(64) NOT NULL CHECK (sku <> '' AND sku = rtrim(sku)),
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(19,4) NOT NULL CHECK (unit_price <> 'NaN'),
    freight numeric(19,4) NOT NULL CHECK (freight <> 'NaN'),
    currency varchar(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    priced_at timestamptz NOT NULL
        CHECK (priced_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CHECK (created_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_by varchar(64) NOT NULL DEFAULT current_user,
    updated_at timestamptz NOT NULL DEFAULT now()
        CHECK (updated_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_by varchar(64) NOT NULL DEFAULT current_user,
    deleted_at timestamptz CHECK (deleted_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    deleted_by varchar(64),
    PRIMARY KEY (tenant_id, order_month, order_id, line_no),
    FOREIGN KEY (tenant_id, order_month, order_id) REFERENCES sales.orders,
    CONSTRAINT order_lines_deleted_by_someone CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
) PARTITION BY RANGE (order_month);

-- A card number never enters: refused are 13 to 19 digits with nothing but separators between them, alone or, bare or
-- in groups of four, as a part of the token. A UUID or a hash, whatever digits it holds, passes.
CREATE TABLE sales.payments (
    tenant_id varchar(64) NOT NULL CHECK (tenant_id <> '' AND tenant_id = rtrim(tenant_id)),
    payment_id varchar(80) NOT NULL CHECK (payment_id <> '' AND payment_id = rtrim(payment_id)),
    order_month date NOT NULL CHECK (extract(day FROM order_month) = 1),
    order_id varchar(64) NOT NULL CHECK (order_id <> '' AND order_id = rtrim(order_id)),
    provider varchar(32) NOT NULL,
    provider_status varchar(32) NOT NULL,
    method varchar(32) NOT NULL,
    method_token varchar(64)
        CONSTRAINT payments_method_token_is_no_card_number CHECK (
            method_token !~ '^[^0-9A-Za-z]*([0-9][^0-9A-Za-z]*){13,19}$'
            AND method_token !~ '(^|[^0-9A-Za-z])[0-9]{13,19}([^0-9A-Za-z]|$)'
            AND method_token !~ '(^|[^0-9A-Za-z])[0-9]{4}([^0-9A-Za-z][0-9]{4}){3}([^0-9A-Za-z]|$)'
        ),
    installments integer NOT NULL CHECK (installments >= 0),
    amount numeric(19,4) NOT NULL CHECK (amount <> 'NaN'),
    currency varchar(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    paid_at timestamptz NOT NULL CHECK (paid_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CHECK (created_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_by varchar(64) NOT NULL DEFAULT current_user,
    updated_at timestamptz NOT NULL DEFAULT now()
        CHECK (updated_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_by varchar(64) NOT NULL DEFAULT current_user,
    deleted_at timestamptz CHECK (deleted_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    deleted_by varchar(64),
    PRIMARY KEY (tenant_id, payment_id),
    FOREIGN KEY (tenant_id, order_month, order_id) REFERENCES sales.orders,
    CONSTRAINT payments_deleted_by_someone CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
) PARTITION BY HASH (tenant_id);

CREATE TABLE sales.payments_0 PARTITION OF sales.payments FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE sales.payments_1 PARTITION OF sales.payments FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE sales.payments_2 PARTITION OF sales.payments FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE sales.payments_3 PARTITION OF sales.payments FOR VALUES WITH (MODULUS 4, REMAINDER 3);

-- Retention removes whole months of orders and must find their payments.
CREATE INDEX payments_order_idx ON sales.payments (tenant_id, order_month, order_id);

-- Append-only, and aged by dropping days.
CREATE TABLE sales.outbox_events (
    event_id uuid NOT NULL,
    tenant_id varchar(64) NOT NULL CHECK (tenant_id <> '' AND tenant_id = rtrim(tenant_id)),
    aggregate_type varchar(32) NOT NULL CHECK (aggregate_type IN ('order', 'payment')),
    aggregate_id varchar(128) NOT NULL CHECK (aggregate_id <> '' AND aggregate_id = rtrim(aggregate_id)),
    event_type varchar(64) NOT NULL CHECK (event_type <> '' AND event_type = rtrim(event_type)),
    schema_version integer NOT NULL DEFAULT 1 CHECK (schema_version > 0),
    payload jsonb NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
    traceparent varchar(64) CHECK (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-|$)'),
    occurred_at timestamptz NOT NULL DEFAULT now()
        CHECK (occurred_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    PRIMARY KEY (event_id, occurred_at)
) PARTITION BY RANGE (occurred_at);

-- Whoever writes an event may give its trace as `traceparent`, or as a W3C header among `headers`. By the standard a
-- malformed header is ignored: it must not cost an order (https://www.w3.org/TR/trace-context/#traceparent-header).
CREATE FUNCTION sales.outbox_traceparent() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.headers ->> 'traceparent' ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        NEW.traceparent := NEW.headers ->> 'traceparent';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER outbox_traceparent BEFORE INSERT ON sales.outbox_events
    FOR EACH ROW WHEN (NEW.traceparent IS NULL AND NEW.headers ? 'traceparent')
    EXECUTE FUNCTION sales.outbox_traceparent();

-- Kept for 30 days, not captured.
CREATE TABLE sales.sessions (
    tenant_id varchar(64) NOT NULL CHECK (tenant_id <> '' AND tenant_id = rtrim(tenant_id)),
    session_id varchar(64) NOT NULL CHECK (session_id <> '' AND session_id = rtrim(session_id)),
    customer_id varchar(64) CHECK (customer_id <> '' AND customer_id = rtrim(customer_id)),
    started_at timestamptz NOT NULL DEFAULT now()
        CHECK (started_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    last_seen_at timestamptz NOT NULL DEFAULT now()
        CHECK (last_seen_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CHECK (created_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_by varchar(64) NOT NULL DEFAULT current_user,
    updated_at timestamptz NOT NULL DEFAULT now()
        CHECK (updated_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_by varchar(64) NOT NULL DEFAULT current_user,
    deleted_at timestamptz CHECK (deleted_at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    deleted_by varchar(64),
    PRIMARY KEY (tenant_id, session_id),
    CONSTRAINT sessions_deleted_by_someone CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
);
CREATE INDEX sessions_last_seen_idx ON sales.sessions (last_seen_at);
