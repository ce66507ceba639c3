-- The tables of one generation. Columns as in schemas/tables.py, then where the row's last change stood (`Position`)
-- and whether it was a delete: a deleted row stays, so that an older insert cannot resurrect it, and its other
-- columns may be null then. No foreign keys: tables arrive in any order. Identifiers compare by code point, as keys
-- do in the source.

CREATE TABLE reporting_gN.orders (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    order_month date NOT NULL,
    order_id varchar(64) COLLATE "C" NOT NULL,
    customer_id varchar(64),
    status varchar(32),
    total numeric(19,4),
    currency varchar(3),
    placed_at timestamptz,
    approved_at timestamptz,
    shipped_at timestamptz,
    delivered_at timestamptz,
    cancelled_at timestamptz,
    created_at timestamptz,
    created_by varchar(64),
    updated_at timestamptz,
    updated_by varchar(64),
    deleted_at timestamptz,
    deleted_by varchar(64),
    _epoch integer NOT NULL,
    _offset bigint NOT NULL,
    _version bigint NOT NULL,
    _log_commit bigint NOT NULL,
    _log_change bigint NOT NULL,
    _deleted boolean NOT NULL,
    _source_time timestamptz NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (tenant_id, order_month, order_id),
    CONSTRAINT orders_complete CHECK (
        _deleted OR (
            customer_id IS NOT NULL AND status IS NOT NULL AND total IS NOT NULL AND currency IS NOT NULL
            AND placed_at IS NOT NULL AND created_at IS NOT NULL AND created_by IS NOT NULL
            AND updated_at IS NOT NULL AND updated_by IS NOT NULL
        )
    )
);

CREATE TABLE reporting_gN.order_lines (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    order_month date NOT NULL,
    order_id varchar(64) COLLATE "C" NOT NULL,
    line_no integer NOT NULL,
    sku varchar(64),
    quantity integer,
    unit_price numeric(19,4),
    freight numeric(19,4),
    currency varchar(3),
    priced_at timestamptz,
    created_at timestamptz,
    created_by varchar(64),
    updated_at timestamptz,
    updated_by varchar(64),
    deleted_at timestamptz,
    deleted_by varchar(64),
    product_name varchar(256),
    category varchar(128),
    list_price numeric(19,4),
    catalog_version bigint,
    enrichment_status varchar(16),
    _epoch integer NOT NULL,
    _offset bigint NOT NULL,
    _version bigint NOT NULL,
    _log_commit bigint NOT NULL,
    _log_change bigint NOT NULL,
    _deleted boolean NOT NULL,
    _source_time timestamptz NOT NULL,
    CONSTRAINT order_lines_pkey PRIMARY KEY (tenant_id, order_month, order_id, line_no),
    CONSTRAINT order_lines_complete CHECK (
        _deleted OR (
            sku IS NOT NULL AND quantity IS NOT NULL AND unit_price IS NOT NULL AND freight IS NOT NULL
            AND currency IS NOT NULL AND priced_at IS NOT NULL AND created_at IS NOT NULL
            AND created_by IS NOT NULL AND updated_at IS NOT NULL AND updated_by IS NOT NULL
            AND catalog_version IS NOT NULL AND enrichment_status IS NOT NULL
        )
    )
);

CREATE TABLE reporting_gN.payments (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    payment_id varchar(80) COLLATE "C" NOT NULL,
    order_month date,
    order_id varchar(64),
    provider varchar(32),
    provider_status varchar(32),
    method varchar(32),
    method_token varchar(64),
    installments integer,
    amount numeric(19,4),
    currency varchar(3),
    paid_at timestamptz,
    created_at timestamptz,
    created_by varchar(64),
    updated_at timestamptz,
    updated_by varchar(64),
    deleted_at timestamptz,
    deleted_by varchar(64),
    _epoch integer NOT NULL,
    _offset bigint NOT NULL,
    _version bigint NOT NULL,
    _log_commit bigint NOT NULL,
    _log_change bigint NOT NULL,
    _deleted boolean NOT NULL,
    _source_time timestamptz NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, payment_id),
    CONSTRAINT payments_complete CHECK (
        _deleted OR (
            order_month IS NOT NULL AND order_id IS NOT NULL AND provider IS NOT NULL
            AND provider_status IS NOT NULL AND method IS NOT NULL AND installments IS NOT NULL
            AND amount IS NOT NULL AND currency IS NOT NULL AND paid_at IS NOT NULL
            AND created_at IS NOT NULL AND created_by IS NOT NULL AND updated_at IS NOT NULL
            AND updated_by IS NOT NULL
        )
    )
);

CREATE TABLE reporting_gN.events (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    event_day date NOT NULL,
    event_id varchar(36) COLLATE "C" NOT NULL,
    aggregate_type varchar(32) NOT NULL,
    aggregate_id varchar(128) NOT NULL,
    event_type varchar(64) NOT NULL,
    schema_version integer NOT NULL,
    payload text NOT NULL,
    occurred_at timestamptz NOT NULL,
    traceparent varchar(64),
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, event_day, event_id)
);

CREATE TABLE reporting_gN.products (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    sku varchar(64) COLLATE "C" NOT NULL,
    name varchar(256),
    category varchar(128),
    price numeric(19,4),
    currency varchar(3),
    stock integer,
    updated_at timestamptz,
    _epoch integer NOT NULL,
    _offset bigint NOT NULL,
    _version bigint NOT NULL,
    _log_commit bigint NOT NULL,
    _log_change bigint NOT NULL,
    _deleted boolean NOT NULL,
    _source_time timestamptz NOT NULL,
    CONSTRAINT products_pkey PRIMARY KEY (tenant_id, sku),
    CONSTRAINT products_complete CHECK (
        _deleted OR (
            name IS NOT NULL AND category IS NOT NULL AND price IS NOT NULL AND currency IS NOT NULL
            AND stock IS NOT NULL AND updated_at IS NOT NULL
        )
    )
);

-- The truth about what has landed: it commits with the rows. `fence` rises with each owner of the partition.
CREATE TABLE reporting_gN.checkpoint (
    topic varchar(249) COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    topic_id varchar(64) NOT NULL,
    next_offset bigint NOT NULL,
    fence bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT checkpoint_pkey PRIMARY KEY (topic, partition)
);

-- Later tables too: one of your own needs no grants. A delete is a row like others, so the writer deletes nothing.
GRANT USAGE ON SCHEMA reporting_gN TO reporting_writer;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA reporting_gN TO reporting_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA reporting_gN GRANT SELECT, INSERT, UPDATE ON TABLES TO reporting_writer;
REVOKE ALL ON reporting_gN.schema_version FROM reporting_writer;
