-- Ageing out. First what all generations of this database share, made by the first one. The user's login belongs to
-- the server: `headrace migrate` makes it before this runs, with the password from the settings.

IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = N'reporting_retention')
    CREATE USER [reporting_retention] FOR LOGIN [reporting_retention];
GO
IF NOT EXISTS (SELECT 1 FROM sys.schemas WHERE name = N'retention')
    EXEC (N'CREATE SCHEMA [retention]');
GO

-- What the sinks refuse: rows of one part of the policy (`Table.retention`) whose date (`Table.ages_by`) is before
-- `before`, but for tenants that a legal hold keeps: `held`, a JSON array. Sinks read it in each transaction; whoever
-- changes it locks the table first, and so waits for them.
IF NOT EXISTS (SELECT 1 FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = N'retention' AND TABLE_NAME = N'cutoff')
CREATE TABLE [retention].[cutoff] (
    [part] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [before] DATE NOT NULL,
    [held] NVARCHAR(MAX) NOT NULL,
    [set_at] DATETIME2(6) NOT NULL CONSTRAINT [cutoff_set_at] DEFAULT SYSUTCDATETIME(),
    CONSTRAINT [cutoff_pkey] PRIMARY KEY ([part])
);
GO

-- Events of erased persons: never inserted again.
IF NOT EXISTS (SELECT 1 FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = N'retention' AND TABLE_NAME = N'erased_event')
CREATE TABLE [retention].[erased_event] (
    [tenant_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [event_id] NCHAR(36) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [erased_at] DATETIME2(6) NOT NULL CONSTRAINT [erased_event_erased_at] DEFAULT SYSUTCDATETIME(),
    CONSTRAINT [erased_event_pkey] PRIMARY KEY ([tenant_id], [event_id])
);
GO

GRANT SELECT ON SCHEMA::[retention] TO [reporting_writer];
GO
GRANT SELECT, INSERT, UPDATE ON SCHEMA::[retention] TO [reporting_retention];
GO

-- Then this generation: on the schema, so that a later table of your own needs no grants.
GRANT SELECT, DELETE ON SCHEMA::[reporting_gN] TO [reporting_retention];
GO
