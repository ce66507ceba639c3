-- Generations side by side. First what all of them share, made by the first one; the migrator, who alone makes
-- generations and turns the readers' views, is the only one who writes it.

CREATE SCHEMA IF NOT EXISTS headrace;

-- building: being filled, not shown; live: the readers' views show it; previous: was live, and is still being fed;
-- dropped: gone, or being removed. A number is used once.
CREATE TABLE IF NOT EXISTS headrace.generation (
    generation integer NOT NULL,
    state varchar(16) NOT NULL,
    epoch integer NOT NULL, -- reads nothing that was captured before this epoch
    began_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT generation_pkey PRIMARY KEY (generation),
    CONSTRAINT generation_state CHECK (state IN ('building', 'live', 'previous', 'dropped'))
);

-- Each history of the source (docs/decisions/0012-epochs.md): which cluster, and which of its timelines. One that has
-- ended, as the source was found to have restarted, says so: nothing is captured until the next one is raised.
CREATE TABLE IF NOT EXISTS headrace.epoch (
    epoch integer NOT NULL,
    reason varchar(512) NOT NULL,
    raised_by varchar(128) NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    system_identifier bigint NOT NULL,
    timeline integer NOT NULL,
    ended_at timestamptz,
    ended_because varchar(512),
    CONSTRAINT epoch_pkey PRIMARY KEY (epoch)
);

-- What `headrace verify --repair` has taken out of a generation: who, when, and the row as it was (JSON).
CREATE TABLE IF NOT EXISTS headrace.repair (
    repaired_at timestamptz NOT NULL,
    repaired_by varchar(128) NOT NULL,
    generation integer NOT NULL,
    table_name varchar(63) NOT NULL,
    row_key text NOT NULL,
    old_row text NOT NULL
);

GRANT USAGE ON SCHEMA headrace TO reporting_writer, reporting_reader, reporting_retention;
GRANT SELECT ON headrace.generation, headrace.epoch TO reporting_writer, reporting_reader, reporting_retention;
GRANT SELECT, INSERT ON headrace.repair TO reporting_writer;
-- What `headrace run watch` finds out: a failover that lost nothing, or the end of a history.
GRANT UPDATE (timeline, ended_at, ended_because) ON headrace.epoch TO reporting_writer;

-- Then this generation: per table the moment, by the source's clock, up to which it is complete, by the last barrier
-- passed, and up to which it has been proven equal to the source. Written by the workers that find out; readers see it as
-- report.freshness (docs/freshness.md).
CREATE TABLE reporting_gN.freshness (
    table_name varchar(63) COLLATE "C" NOT NULL,
    complete_through timestamptz,
    passed_at timestamptz,
    verified_through timestamptz,
    verified_at timestamptz,
    CONSTRAINT freshness_pkey PRIMARY KEY (table_name)
);
GRANT SELECT, INSERT, UPDATE ON reporting_gN.freshness TO reporting_writer;
REVOKE DELETE ON reporting_gN.freshness FROM reporting_retention;
