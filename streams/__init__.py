"""The enrichment of order lines: each captured line gets the catalog entry that was valid when it was priced.

Kafka in, Kafka out. The pure core is asof, enrich, undecided and clocks; processor puts it in order, worker and
faust_consumer run it.
"""
