-- event sums
SELECT e.[day], e.[tenant], COUNT_BIG(*), SUM(CAST(CAST(SUBSTRING(e.[hash], 1, 7) AS BIGINT) * 16 + CAST(SUBSTRING(e.[hash], 8, 1) AS INT) / 16 AS DECIMAL(38, 0)))
FROM (
    SELECT [event_day] AS [day], [tenant_id] AS [tenant], HASHBYTES('MD5', CONVERT(VARCHAR(36), [event_id])) AS [hash]
    FROM [reporting_g1].[events]
    WHERE [event_day] < CAST(? AS DATE) AND [tenant_id] NOT IN (SELECT [item] COLLATE Latin1_General_100_BIN2 FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]'))
) AS e
GROUP BY e.[day], e.[tenant];

-- event ids
SELECT TOP (?) [event_id] FROM [reporting_g1].[events]
WHERE [tenant_id] = ? AND [event_day] = CAST(? AS DATE) AND [event_id] > ?
ORDER BY [event_id];

-- retire events
DELETE TOP (2000) FROM [reporting_g1].[events]
OUTPUT deleted.[tenant_id], deleted.[event_id] INTO [#gone_events]
WHERE [tenant_id] IN (SELECT [item] COLLATE Latin1_General_100_BIN2 FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]')) AND [event_day] = CAST(? AS DATE);

-- delete events
DELETE FROM [reporting_g1].[events]
WHERE [tenant_id] = ? AND [event_id] IN (SELECT [item] COLLATE Latin1_General_100_BIN2 FROM OPENJSON(?) WITH ([item] NVARCHAR(64) '$[0]'));

-- drop gone
DROP TABLE IF EXISTS [#gone_events];

-- create gone
SELECT TOP (0) [tenant_id], [event_id]
INTO [#gone_events]
FROM [reporting_g1].[events];

-- gone sums
SELECT e.[tenant], COUNT_BIG(*), SUM(CAST(CAST(SUBSTRING(e.[hash], 1, 7) AS BIGINT) * 16 + CAST(SUBSTRING(e.[hash], 8, 1) AS INT) / 16 AS DECIMAL(38, 0)))
FROM (SELECT [tenant_id] AS [tenant], HASHBYTES('MD5', CONVERT(VARCHAR(36), [event_id])) AS [hash] FROM [#gone_events]) AS e
GROUP BY e.[tenant];
