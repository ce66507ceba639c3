-- read epochs
SELECT [epoch] FROM [headrace].[epoch]

-- read cutoffs
SELECT [part], [before], [held] FROM [retention].[cutoff] WITH (TABLOCK, HOLDLOCK);

-- lock cutoffs
SELECT COUNT(*) FROM [retention].[cutoff] WITH (TABLOCKX, HOLDLOCK);

-- move cutoff
UPDATE [retention].[cutoff] SET
    [before] = CASE WHEN [before] < CAST(? AS DATE) THEN CAST(? AS DATE) ELSE [before] END,
    [held] = ?,
    [set_at] = SYSUTCDATETIME()
WHERE [part] = ?;

-- make cutoff
INSERT INTO [retention].[cutoff] ([part], [before], [held], [set_at])
VALUES (?, CAST(? AS DATE), ?, SYSUTCDATETIME());

-- erase events
INSERT INTO [retention].[erased_event] ([tenant_id], [event_id], [erased_at])
SELECT DISTINCT ?, i.[item], SYSUTCDATETIME()
FROM (SELECT [item] COLLATE Latin1_General_100_BIN2 AS [item] FROM OPENJSON(?) WITH ([item] NVARCHAR(36) '$[0]')) AS i
WHERE NOT EXISTS (
    SELECT 1 FROM [retention].[erased_event] AS e WHERE e.[tenant_id] = ? AND e.[event_id] = i.[item]
);

-- generations
SELECT TABLE_SCHEMA FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = N'checkpoint';
