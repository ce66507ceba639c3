-- Who sees what of the schema that all generations share, by table: rows that a repair took out are no reader's. They may
-- be an erased person's: `headrace archive erase` reaches them there, too.
REVOKE SELECT ON SCHEMA::[headrace] FROM [reporting_writer];
GO
REVOKE SELECT ON SCHEMA::[headrace] FROM [reporting_reader];
GO
REVOKE SELECT ON SCHEMA::[headrace] FROM [reporting_retention];
GO
GRANT SELECT ON [headrace].[generation] TO [reporting_writer], [reporting_reader], [reporting_retention];
GO
GRANT SELECT ON [headrace].[epoch] TO [reporting_writer], [reporting_reader], [reporting_retention];
GO
GRANT SELECT ON [headrace].[repair] TO [reporting_writer];
GO
GRANT SELECT, DELETE ON [headrace].[repair] TO [reporting_retention];
GO

-- A generation's tables are granted by their schema, so its bookkeeping is denied by name: how far it has landed is not
-- retention's to delete, and which revision it has is the migrator's alone. Babelfish has no DENY; it parses what EXEC
-- runs only when it does.
IF SERVERPROPERTY('Babelfish') IS NULL
    EXEC (N'
        DENY DELETE ON [reporting_gN].[checkpoint] TO [reporting_retention];
        DENY DELETE ON [reporting_gN].[freshness] TO [reporting_retention];
        DENY SELECT, INSERT, UPDATE, DELETE ON [reporting_gN].[schema_version] TO [reporting_writer], [reporting_retention];
    ');
GO

-- A batch changes more rows in one statement than the 5,000 locks at which SQL Server takes the whole table instead:
-- workers would land one after the other. Row locks of a batch take a few megabytes. A table of your own wants this, too.
IF SERVERPROPERTY('Babelfish') IS NULL
    EXEC (N'
        ALTER TABLE [reporting_gN].[orders] SET (LOCK_ESCALATION = DISABLE);
        ALTER TABLE [reporting_gN].[order_lines] SET (LOCK_ESCALATION = DISABLE);
        ALTER TABLE [reporting_gN].[payments] SET (LOCK_ESCALATION = DISABLE);
        ALTER TABLE [reporting_gN].[events] SET (LOCK_ESCALATION = DISABLE);
        ALTER TABLE [reporting_gN].[products] SET (LOCK_ESCALATION = DISABLE);
    ');
GO
