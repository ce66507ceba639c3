"""`headrace run watch`: connectors, the source's history, freshness, and open dead letters, in one worker."""
