-- drop stage
DROP TABLE IF EXISTS [#stage_orders];

-- create stage
SELECT TOP (0) [tenant_id], [order_month], [order_id], [customer_id], [status], [total], [currency], [placed_at], [approved_at], [shipped_at], [delivered_at], [cancelled_at], [created_at], [created_by], [updated_at], [updated_by], [deleted_at], [deleted_by], [_epoch], [_offset], [_version], [_log_commit], [_log_change], [_deleted], [_source_time], CAST(0 AS BIT) AS [_read]
INTO [#stage_orders]
FROM [reporting_g1].[orders];

-- clear stage
TRUNCATE TABLE [#stage_orders];

-- load
INSERT INTO [#stage_orders] ([tenant_id], [order_month], [order_id], [customer_id], [status], [total], [currency], [placed_at], [approved_at], [shipped_at], [delivered_at], [cancelled_at], [created_at], [created_by], [updated_at], [updated_by], [deleted_at], [deleted_by], [_epoch], [_offset], [_version], [_log_commit], [_log_change], [_deleted], [_source_time], [_read])
SELECT [tenant_id], [order_month], [order_id], [customer_id], [status], [total], [currency], [placed_at], [approved_at], [shipped_at], [delivered_at], [cancelled_at], [created_at], [created_by], [updated_at], [updated_by], [deleted_at], [deleted_by], [_epoch], [_offset], [_version], [_log_commit], [_log_change], [_deleted], [_source_time], [_read]
FROM OPENJSON(?) WITH (
    [tenant_id] NVARCHAR(128) '$[0]',
    [order_month] DATE '$[1]',
    [order_id] NVARCHAR(128) '$[2]',
    [customer_id] NVARCHAR(128) '$[3]',
    [status] NVARCHAR(64) '$[4]',
    [total] DECIMAL(19, 4) '$[5]',
    [currency] NVARCHAR(6) '$[6]',
    [placed_at] DATETIME2(6) '$[7]',
    [approved_at] DATETIME2(6) '$[8]',
    [shipped_at] DATETIME2(6) '$[9]',
    [delivered_at] DATETIME2(6) '$[10]',
    [cancelled_at] DATETIME2(6) '$[11]',
    [created_at] DATETIME2(6) '$[12]',
    [created_by] NVARCHAR(128) '$[13]',
    [updated_at] DATETIME2(6) '$[14]',
    [updated_by] NVARCHAR(128) '$[15]',
    [deleted_at] DATETIME2(6) '$[16]',
    [deleted_by] NVARCHAR(128) '$[17]',
    [_epoch] INT '$[18]',
    [_offset] BIGINT '$[19]',
    [_version] BIGINT '$[20]',
    [_log_commit] BIGINT '$[21]',
    [_log_change] BIGINT '$[22]',
    [_deleted] BIT '$[23]',
    [_source_time] DATETIME2(6) '$[24]',
    [_read] BIT '$[25]'
);

-- update
UPDATE t SET
    [customer_id] = s.[customer_id],
    [status] = s.[status],
    [total] = s.[total],
    [currency] = s.[currency],
    [placed_at] = s.[placed_at],
    [approved_at] = s.[approved_at],
    [shipped_at] = s.[shipped_at],
    [delivered_at] = s.[delivered_at],
    [cancelled_at] = s.[cancelled_at],
    [created_at] = s.[created_at],
    [created_by] = s.[created_by],
    [updated_at] = s.[updated_at],
    [updated_by] = s.[updated_by],
    [deleted_at] = s.[deleted_at],
    [deleted_by] = s.[deleted_by],
    [_epoch] = s.[_epoch],
    [_offset] = s.[_offset],
    [_version] = s.[_version],
    [_log_commit] = CASE WHEN s.[_read] = 1 AND s.[_epoch] = t.[_epoch] AND (t.[_log_commit] > s.[_log_commit] OR (t.[_log_commit] = s.[_log_commit] AND t.[_log_change] > s.[_log_change])) THEN t.[_log_commit] ELSE s.[_log_commit] END,
    [_log_change] = CASE WHEN s.[_read] = 1 AND s.[_epoch] = t.[_epoch] AND (t.[_log_commit] > s.[_log_commit] OR (t.[_log_commit] = s.[_log_commit] AND t.[_log_change] > s.[_log_change])) THEN t.[_log_change] ELSE s.[_log_change] END,
    [_deleted] = s.[_deleted],
    [_source_time] = s.[_source_time]
FROM [#stage_orders] AS s
INNER LOOP JOIN [reporting_g1].[orders] AS t ON t.[tenant_id] = s.[tenant_id] AND t.[order_month] = s.[order_month] AND t.[order_id] = s.[order_id] AND DATALENGTH(t.[tenant_id]) = DATALENGTH(s.[tenant_id]) AND DATALENGTH(t.[order_id]) = DATALENGTH(s.[order_id])
WHERE (s.[_epoch] > t.[_epoch] OR (s.[_epoch] = t.[_epoch] AND (
    (s.[_offset] = t.[_offset] AND s.[_version] > t.[_version])
    OR (s.[_offset] > t.[_offset] AND (s.[_read] = 1
        OR s.[_log_commit] > t.[_log_commit]
        OR (s.[_log_commit] = t.[_log_commit] AND (s.[_log_change] > t.[_log_change]
            OR (s.[_log_change] = t.[_log_change] AND s.[_version] > t.[_version]))))))))
OPTION (MAXDOP 1);

-- insert
INSERT INTO [reporting_g1].[orders] ([tenant_id], [order_month], [order_id], [customer_id], [status], [total], [currency], [placed_at], [approved_at], [shipped_at], [delivered_at], [cancelled_at], [created_at], [created_by], [updated_at], [updated_by], [deleted_at], [deleted_by], [_epoch], [_offset], [_version], [_log_commit], [_log_change], [_deleted], [_source_time])
SELECT s.[tenant_id], s.[order_month], s.[order_id], s.[customer_id], s.[status], s.[total], s.[currency], s.[placed_at], s.[approved_at], s.[shipped_at], s.[delivered_at], s.[cancelled_at], s.[created_at], s.[created_by], s.[updated_at], s.[updated_by], s.[deleted_at], s.[deleted_by], s.[_epoch], s.[_offset], s.[_version], s.[_log_commit], s.[_log_change], s.[_deleted], s.[_source_time]
FROM [#stage_orders] AS s
WHERE NOT EXISTS (
    SELECT 1 FROM [reporting_g1].[orders] AS t
    WHERE t.[tenant_id] = s.[tenant_id] AND t.[order_month] = s.[order_month] AND t.[order_id] = s.[order_id] AND DATALENGTH(t.[tenant_id]) = DATALENGTH(s.[tenant_id]) AND DATALENGTH(t.[order_id]) = DATALENGTH(s.[order_id])
)
ORDER BY s.[tenant_id], s.[order_month], s.[order_id]
OPTION (LOOP JOIN, MAXDOP 1);

-- standing
SELECT [_epoch], [_offset], [_version], [_log_commit], [_log_change] FROM [reporting_g1].[orders]
WHERE [tenant_id] = ? AND [order_month] = ? AND [order_id] = ?;

-- drop view
DROP VIEW IF EXISTS [report].[orders];

-- create view
CREATE VIEW [report].[orders] AS
SELECT [tenant_id], [order_month], [order_id], [customer_id], [status], [total], [currency], [placed_at], [approved_at], [shipped_at], [delivered_at], [cancelled_at], [created_at], [created_by], [updated_at], [updated_by], [deleted_at], [deleted_by]
FROM [reporting_g1].[orders]
WHERE [_deleted] = 0 AND [deleted_at] IS NULL;
