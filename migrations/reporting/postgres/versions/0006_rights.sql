-- A row that a repair took out of reporting may be an erased person's: `headrace archive erase` reaches it there, too.
GRANT SELECT, DELETE ON headrace.repair TO reporting_retention;
