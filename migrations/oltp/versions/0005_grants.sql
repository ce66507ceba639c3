-- What each role may do, and no more. Rights on a root are enough for its partitions, later ones included, as long
-- as they are reached through the root; nobody but the owner reaches a leaf by its own name.

-- Soft delete is the policy: the shop neither deletes nor truncates. The outbox is append-only.
GRANT SELECT, INSERT, UPDATE ON sales.orders, sales.order_lines, sales.payments, sales.sessions TO app_writer;
GRANT SELECT, INSERT ON sales.outbox_events TO app_writer;

GRANT SELECT ON sales.orders, sales.order_lines, sales.payments, sales.outbox_events TO cdc_reader;
GRANT SELECT, INSERT, UPDATE ON sales.heartbeat TO cdc_reader;
GRANT SELECT, INSERT ON sales.debezium_signal TO cdc_reader;

GRANT SELECT ON sales.orders, sales.order_lines, sales.payments, sales.outbox_events, sales.heartbeat
    TO reporter_reader;

GRANT SELECT, DELETE ON sales.sessions TO retention;
