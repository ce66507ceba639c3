-- The tables of one generation. Columns as in schemas/tables.py, then where the row's last change stood (`Position`)
-- and whether it was a delete: a deleted row stays, so that an older insert cannot resurrect it, and its other
-- columns may be null then. No foreign keys: tables arrive in any order. Identifiers compare by code point, as keys
-- do in the source.

CREATE TABLE [reporting_gN].[orders] (
    [tenant_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [order_month] DATE NOT NULL,
    [order_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [customer_id] NVARCHAR(64) NULL,
    [status] NVARCHAR(32) NULL,
    [total] DECIMAL(19, 4) NULL,
    [currency] NVARCHAR(3) NULL,
    [placed_at] DATETIME2(6) NULL,
    [approved_at] DATETIME2(6) NULL,
    [shipped_at] DATETIME2(6) NULL,
    [delivered_at] DATETIME2(6) NULL,
    [cancelled_at] DATETIME2(6) NULL,
    [created_at] DATETIME2(6) NULL,
    [created_by] NVARCHAR(64) NULL,
    [updated_at] DATETIME2(6) NULL,
    [updated_by] NVARCHAR(64) NULL,
    [deleted_at] DATETIME2(6) NULL,
    [deleted_by] NVARCHAR(64) NULL,
    [_epoch] INT NOT NULL,
    [_offset] BIGINT NOT NULL,
    [_version] BIGINT NOT NULL,
    [_log_commit] BIGINT NOT NULL,
    [_log_change] BIGINT NOT NULL,
    [_deleted] BIT NOT NULL,
    [_source_time] DATETIME2(6) NOT NULL,
    CONSTRAINT [orders_pkey] PRIMARY KEY ([tenant_id], [order_month], [order_id]),
    CONSTRAINT [orders_complete] CHECK (
        [_deleted] = 1 OR (
            [customer_id] IS NOT NULL AND [status] IS NOT NULL AND [total] IS NOT NULL
            AND [currency] IS NOT NULL AND [placed_at] IS NOT NULL AND [created_at] IS NOT NULL
            AND [created_by] IS NOT NULL AND [updated_at] IS NOT NULL AND [updated_by] IS NOT NULL
        )
    )
);
GO

CREATE TABLE [reporting_gN].[order_lines] (
    [tenant_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [order_month] DATE NOT NULL,
    [order_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [line_no] INT NOT NULL,
    [sku] NVARCHAR(64) NULL,
    [quantity] INT NULL,
    [unit_price] DECIMAL(19, 4) NULL,
    [freight] DECIMAL(19, 4) NULL,
    [currency] NVARCHAR(3) NULL,
    [priced_at] DATETIME2(6) NULL,
    [created_at] DATETIME2(6) NULL,
    [created_by] NVARCHAR(64) NULL,
    [updated_at] DATETIME2(6) NULL,
    [updated_by] NVARCHAR(64) NULL,
    [deleted_at] DATETIME2(6) NULL,
    [deleted_by] NVARCHAR(64) NULL,
    [product_name] NVARCHAR(256) NULL,
    [category] NVARCHAR(128) NULL,
    [list_price] DECIMAL(19, 4) NULL,
    [catalog_version] BIGINT NULL,
    [enrichment_status] NVARCHAR(16) NULL,
    [_epoch] INT NOT NULL,
    [_offset] BIGINT NOT NULL,
    [_version] BIGINT NOT NULL,
    [_log_commit] BIGINT NOT NULL,
    [_log_change] BIGINT NOT NULL,
    [_deleted] BIT NOT NULL,
    [_source_time] DATETIME2(6) NOT NULL,
    CONSTRAINT [order_lines_pkey] PRIMARY KEY ([tenant_id], [order_month], [order_id], [line_no]),
    CONSTRAINT [order_lines_complete] CHECK (
        [_deleted] = 1 OR (
            [sku] IS NOT NULL AND [quantity] IS NOT NULL AND [unit_price] IS NOT NULL
            AND [freight] IS NOT NULL AND [currency] IS NOT NULL AND [priced_at] IS NOT NULL
            AND [created_at] IS NOT NULL AND [created_by] IS NOT NULL AND [updated_at] IS NOT NULL
            AND [updated_by] IS NOT NULL AND [catalog_version] IS NOT NULL
            AND [enrichment_status] IS NOT NULL
        )
    )
);
GO

CREATE TABLE [reporting_gN].[payments] (
    [tenant_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [payment_id] NVARCHAR(80) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [order_month] DATE NULL,
    [order_id] NVARCHAR(64) NULL,
    [provider] NVARCHAR(32) NULL,
    [provider_status] NVARCHAR(32) NULL,
    [method] NVARCHAR(32) NULL,
    [method_token] NVARCHAR(64) NULL,
    [installments] INT NULL,
    [amount] DECIMAL(19, 4) NULL,
    [currency] NVARCHAR(3) NULL,
    [paid_at] DATETIME2(6) NULL,
    [created_at] DATETIME2(6) NULL,
    [created_by] NVARCHAR(64) NULL,
    [updated_at] DATETIME2(6) NULL,
    [updated_by] NVARCHAR(64) NULL,
    [deleted_at] DATETIME2(6) NULL,
    [deleted_by] NVARCHAR(64) NULL,
    [_epoch] INT NOT NULL,
    [_offset] BIGINT NOT NULL,
    [_version] BIGINT NOT NULL,
    [_log_commit] BIGINT NOT NULL,
    [_log_change] BIGINT NOT NULL,
    [_deleted] BIT NOT NULL,
    [_source_time] DATETIME2(6) NOT NULL,
    CONSTRAINT [payments_pkey] PRIMARY KEY ([tenant_id], [payment_id]),
    CONSTRAINT [payments_complete] CHECK (
        [_deleted] = 1 OR (
            [order_month] IS NOT NULL AND [order_id] IS NOT NULL AND [provider] IS NOT NULL
            AND [provider_status] IS NOT NULL AND [method] IS NOT NULL AND [installments] IS NOT NULL
            AND [amount] IS NOT NULL AND [currency] IS NOT NULL AND [paid_at] IS NOT NULL
            AND [created_at] IS NOT NULL AND [created_by] IS NOT NULL AND [updated_at] IS NOT NULL
            AND [updated_by] IS NOT NULL
        )
    )
);
GO

CREATE TABLE [reporting_gN].[events] (
    [tenant_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [event_day] DATE NOT NULL,
    [event_id] NCHAR(36) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [aggregate_type] NVARCHAR(32) NOT NULL,
    [aggregate_id] NVARCHAR(128) NOT NULL,
    [event_type] NVARCHAR(64) NOT NULL,
    [schema_version] INT NOT NULL,
    [payload] NVARCHAR(MAX) NOT NULL,
    [occurred_at] DATETIME2(6) NOT NULL,
    [traceparent] NVARCHAR(64) NULL,
    CONSTRAINT [events_pkey] PRIMARY KEY ([tenant_id], [event_day], [event_id])
);
GO

CREATE TABLE [reporting_gN].[products] (
    [tenant_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [sku] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [name] NVARCHAR(256) NULL,
    [category] NVARCHAR(128) NULL,
    [price] DECIMAL(19, 4) NULL,
    [currency] NVARCHAR(3) NULL,
    [stock] INT NULL,
    [updated_at] DATETIME2(6) NULL,
    [_epoch] INT NOT NULL,
    [_offset] BIGINT NOT NULL,
    [_version] BIGINT NOT NULL,
    [_log_commit] BIGINT NOT NULL,
    [_log_change] BIGINT NOT NULL,
    [_deleted] BIT NOT NULL,
    [_source_time] DATETIME2(6) NOT NULL,
    CONSTRAINT [products_pkey] PRIMARY KEY ([tenant_id], [sku]),
    CONSTRAINT [products_complete] CHECK (
        [_deleted] = 1 OR (
            [name] IS NOT NULL AND [category] IS NOT NULL AND [price] IS NOT NULL AND [currency] IS NOT NULL
            AND [stock] IS NOT NULL AND [updated_at] IS NOT NULL
        )
    )
);
GO

-- The truth about what has landed: it commits with the rows. `fence` rises with each owner of the partition.
CREATE TABLE [reporting_gN].[checkpoint] (
    [topic] NVARCHAR(249) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [partition] INT NOT NULL,
    [topic_id] NVARCHAR(64) NOT NULL,
    [next_offset] BIGINT NOT NULL,
    [fence] BIGINT NOT NULL,
    [updated_at] DATETIME2(6) NOT NULL CONSTRAINT [checkpoint_updated_at] DEFAULT SYSUTCDATETIME(),
    CONSTRAINT [checkpoint_pkey] PRIMARY KEY ([topic], [partition])
);
GO

-- On the schema, so that a later table of your own needs no grants. A delete is a row like others, so the writer
-- deletes nothing.
GRANT SELECT, INSERT, UPDATE ON SCHEMA::[reporting_gN] TO [reporting_writer];
GO
