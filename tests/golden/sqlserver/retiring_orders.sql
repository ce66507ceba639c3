-- drop list
DROP TABLE IF EXISTS [#aged_orders];

-- create list
SELECT TOP (0) [tenant_id], [order_month], [order_id], CAST(0 AS BIGINT) AS [_n]
INTO [#aged_orders]
FROM [reporting_g1].[orders];

-- index list
CREATE UNIQUE CLUSTERED INDEX [aged_orders_number] ON [#aged_orders] ([_n]);

-- load list
INSERT INTO [#aged_orders] ([tenant_id], [order_month], [order_id], [_n])
SELECT [tenant_id], [order_month], [order_id], [_n]
FROM OPENJSON(?) WITH (
    [tenant_id] NVARCHAR(128) '$[0]',
    [order_month] DATE '$[1]',
    [order_id] NVARCHAR(128) '$[2]',
    [_n] BIGINT '$[3]'
);

-- list of month
INSERT INTO [#aged_orders] ([tenant_id], [order_month], [order_id], [_n])
SELECT [tenant_id], [order_month], [order_id], ROW_NUMBER() OVER (ORDER BY [tenant_id], [order_month], [order_id])
FROM [reporting_g1].[orders] AS t
WHERE (t.[order_month] >= CAST(? AS DATE) AND t.[order_month] < CAST(? AS DATE) AND t.[tenant_id] NOT IN (SELECT [item] COLLATE Latin1_General_100_BIN2 FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]')));

-- list deleted before
INSERT INTO [#aged_orders] ([tenant_id], [order_month], [order_id], [_n])
SELECT [tenant_id], [order_month], [order_id], ROW_NUMBER() OVER (ORDER BY [tenant_id], [order_month], [order_id])
FROM [reporting_g1].[orders] AS t
WHERE (t.[_deleted] = 1 AND (t.[order_month] < CAST(? AS DATE) OR (t.[order_month] IS NULL AND t.[_source_time] < CAST(? AS DATETIME2(6)))) AND t.[tenant_id] NOT IN (SELECT [item] COLLATE Latin1_General_100_BIN2 FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]')));

-- delete of month
DELETE t
FROM [#aged_orders] AS s
INNER LOOP JOIN [reporting_g1].[orders] AS t ON t.[tenant_id] = s.[tenant_id] AND t.[order_month] = s.[order_month] AND t.[order_id] = s.[order_id] AND DATALENGTH(t.[tenant_id]) = DATALENGTH(s.[tenant_id]) AND DATALENGTH(t.[order_id]) = DATALENGTH(s.[order_id])
WHERE s.[_n] > ? AND s.[_n] <= ? AND (t.[order_month] >= CAST(? AS DATE) AND t.[order_month] < CAST(? AS DATE) AND t.[tenant_id] NOT IN (SELECT [item] COLLATE Latin1_General_100_BIN2 FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]')));

-- delete deleted before
DELETE t
FROM [#aged_orders] AS s
INNER LOOP JOIN [reporting_g1].[orders] AS t ON t.[tenant_id] = s.[tenant_id] AND t.[order_month] = s.[order_month] AND t.[order_id] = s.[order_id] AND DATALENGTH(t.[tenant_id]) = DATALENGTH(s.[tenant_id]) AND DATALENGTH(t.[order_id]) = DATALENGTH(s.[order_id])
WHERE s.[_n] > ? AND s.[_n] <= ? AND (t.[_deleted] = 1 AND (t.[order_month] < CAST(? AS DATE) OR (t.[order_month] IS NULL AND t.[_source_time] < CAST(? AS DATETIME2(6)))) AND t.[tenant_id] NOT IN (SELECT [item] COLLATE Latin1_General_100_BIN2 FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]')));

-- delete deleted
DELETE t
FROM [#aged_orders] AS s
INNER LOOP JOIN [reporting_g1].[orders] AS t ON t.[tenant_id] = s.[tenant_id] AND t.[order_month] = s.[order_month] AND t.[order_id] = s.[order_id] AND DATALENGTH(t.[tenant_id]) = DATALENGTH(s.[tenant_id]) AND DATALENGTH(t.[order_id]) = DATALENGTH(s.[order_id])
WHERE s.[_n] > ? AND s.[_n] <= ? AND t.[_deleted] = 1;
