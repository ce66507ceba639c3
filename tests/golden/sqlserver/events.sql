-- drop stage
DROP TABLE IF EXISTS [#stage_events];

-- create stage
SELECT TOP (0) [tenant_id], [event_day], [event_id], [aggregate_type], [aggregate_id], [event_type], [schema_version], [payload], [occurred_at], [traceparent]
INTO [#stage_events]
FROM [reporting_g1].[events];

-- clear stage
TRUNCATE TABLE [#stage_events];

-- load
INSERT INTO [#stage_events] ([tenant_id], [event_day], [event_id], [aggregate_type], [aggregate_id], [event_type], [schema_version], [payload], [occurred_at], [traceparent])
SELECT [tenant_id], [event_day], [event_id], [aggregate_type], [aggregate_id], [event_type], [schema_version], [payload], [occurred_at], [traceparent]
FROM OPENJSON(?) WITH (
    [tenant_id] NVARCHAR(128) '$[0]',
    [event_day] DATE '$[1]',
    [event_id] NVARCHAR(36) '$[2]',
    [aggregate_type] NVARCHAR(64) '$[3]',
    [aggregate_id] NVARCHAR(256) '$[4]',
    [event_type] NVARCHAR(128) '$[5]',
    [schema_version] INT '$[6]',
    [payload] NVARCHAR(MAX) '$[7]',
    [occurred_at] DATETIME2(6) '$[8]',
    [traceparent] NVARCHAR(128) '$[9]'
);

-- insert
INSERT INTO [reporting_g1].[events] ([tenant_id], [event_day], [event_id], [aggregate_type], [aggregate_id], [event_type], [schema_version], [payload], [occurred_at], [traceparent])
SELECT s.[tenant_id], s.[event_day], s.[event_id], s.[aggregate_type], s.[aggregate_id], s.[event_type], s.[schema_version], s.[payload], s.[occurred_at], s.[traceparent]
FROM [#stage_events] AS s
WHERE NOT EXISTS (
    SELECT 1 FROM [reporting_g1].[events] AS t
    WHERE t.[tenant_id] = s.[tenant_id] AND t.[event_day] = s.[event_day] AND t.[event_id] = s.[event_id] AND DATALENGTH(t.[tenant_id]) = DATALENGTH(s.[tenant_id]) AND DATALENGTH(t.[event_id]) = DATALENGTH(s.[event_id])
) AND NOT EXISTS (
    SELECT 1 FROM [retention].[erased_event] AS e
    WHERE e.[tenant_id] = s.[tenant_id] AND e.[event_id] = s.[event_id]
)
ORDER BY s.[tenant_id], s.[event_day], s.[event_id]
OPTION (LOOP JOIN, MAXDOP 1);

-- standing
SELECT 0, 0, 0, 0, 0 FROM [reporting_g1].[events]
WHERE [tenant_id] = ? AND [event_day] = ? AND [event_id] = ?;

-- drop view
DROP VIEW IF EXISTS [report].[events];

-- create view
CREATE VIEW [report].[events] AS
SELECT [tenant_id], [event_day], [event_id], [aggregate_type], [aggregate_id], [event_type], [schema_version], [payload], [occurred_at], [traceparent]
FROM [reporting_g1].[events];
