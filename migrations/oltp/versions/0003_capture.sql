-- What change data capture needs of the source. The publication is not here: `headrace connectors apply` makes it
-- from the same table list as Debezium's configuration.

-- A beat per second keeps the slot moving while the shop is idle; a barrier is a beat that somebody waits for.
CREATE TABLE sales.heartbeat (
    id integer PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO sales.heartbeat (id) VALUES (1);

-- Debezium's format: https://debezium.io/documentation/reference/stable/configuration/signalling.html
CREATE TABLE sales.debezium_signal (
    id varchar(64) PRIMARY KEY,
    type varchar(32) NOT NULL,
    data varchar(2048)
);

-- An update then carries every old value, so that an unchanged TOASTed one is in the record too. On a partitioned
-- table it reaches no leaf: payments' four are set here, leaves of later months by sales.make_partitions.
ALTER TABLE sales.orders REPLICA IDENTITY FULL;
ALTER TABLE sales.order_lines REPLICA IDENTITY FULL;
ALTER TABLE sales.payments REPLICA IDENTITY FULL;
ALTER TABLE sales.payments_0 REPLICA IDENTITY FULL;
ALTER TABLE sales.payments_1 REPLICA IDENTITY FULL;
ALTER TABLE sales.payments_2 REPLICA IDENTITY FULL;
ALTER TABLE sales.payments_3 REPLICA IDENTITY FULL;
ALTER TABLE sales.heartbeat REPLICA IDENTITY FULL;
