"""Capture: declare, diff and apply what Debezium needs in Kafka, Postgres and Kafka Connect."""
