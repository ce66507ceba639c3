package headrace.mongo;

import de.bwaldvogel.mongo.MongoServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;

/**
 * The catalog's server on a laptop: speaks MongoDB's wire protocol, keeps everything in memory.
 *
 * <p>It is a replica set of one member with faithful change streams, for pymongo and Debezium. What it does not
 * have, it refuses by name: transactions, renaming, $out and $merge, authentication. Validators, users and roles
 * are accepted and listed again, but not enforced. With a FILE, SIGTERM keeps the data and the change streams' history
 * for the next start. A crash, or a restart without a FILE, empties it; resume tokens from before then raise
 * ChangeStreamHistoryLost.
 */
final class StandIn {

    /** A waiting getMore holds its thread, and connections are spread over the threads in turn. */
    private static final int WORKER_THREADS = 128;

    private static final int DEFAULT_KEPT_EVENTS = 100_000;

    private StandIn() {}

    public static void main(String[] arguments) throws InterruptedException, IOException {
        if (arguments.length < 1 || arguments.length > 3) {
            System.err.println("usage: StandIn PORT [EVENTS_KEPT [FILE]]");
            System.exit(2);
        }
        int port = Integer.parseInt(arguments[0]);
        int events = arguments.length > 1 ? Integer.parseInt(arguments[1]) : DEFAULT_KEPT_EVENTS;
        var log = new ChangeLog(events);
        var store = new ReplicaSet("127.0.0.1:" + port, log);
        var server = new MongoServer(store);
        if (arguments.length > 2) {
            var kept = new Kept(Path.of(arguments[2]), store, log);
            kept.load();
            Runtime.getRuntime().addShutdownHook(new Thread(() -> store.endAfter(() -> save(kept))));
            kept.delete();
        }
        server.bind(new InetSocketAddress("127.0.0.1", port), 1, WORKER_THREADS);
        System.out.println("listening on port " + port + ", keeping " + events + " change events");
        Thread.currentThread().join();
    }

    private static void save(Kept kept) {
        try {
            kept.save();
            System.out.println("kept for the next start");
        } catch (IOException | RuntimeException failed) {
            System.out.println("NOT kept for the next start: " + failed);
        }
    }
}
