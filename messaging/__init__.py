"""Kafka and the schema registry for all workers and commands: clients, delivery, ranges, dead letters, health.

Everything that talks to the brokers or to the registry goes through this package, so that its defaults against loss
(idempotent producers, no automatic commits, no offset resets) hold everywhere.
"""
