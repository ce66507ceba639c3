"""The work of the `headrace archive` commands, one module for each command."""
