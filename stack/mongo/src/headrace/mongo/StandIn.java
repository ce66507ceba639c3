package headrace.mongo;

import de.bwaldvogel.mongo.MongoServer;
import java.net.InetSocketAddress;

/**
 * The catalog's server on a laptop: speaks MongoDB's wire protocol, keeps everything in memory.
 *
 * <p>It is a replica set of one member with faithful change streams, for pymongo and Debezium. What it does not
 * have, it refuses by name: transactions, renaming, $out and $merge, authentication. Validators, users and roles
 * are accepted and listed again, but not enforced. A restart empties it; resume tokens from before then raise
 * ChangeStreamHistoryLost.
 */
final class StandIn {

    /** A waiting getMore holds its thread, and connections are spread over the threads in turn. */
    private static final int WORKER_THREADS = 128;

    private static final int DEFAULT_KEPT_EVENTS = 100_000;

    private StandIn() {}

    public static void main(String[] arguments) throws InterruptedException {
        if (arguments.length < 1 || arguments.length > 2) {
            System.err.println("usage: StandIn PORT [EVENTS_KEPT]");
            System.exit(2);
        }
        int port = Integer.parseInt(arguments[0]);
        int kept = arguments.length > 1 ? Integer.parseInt(arguments[1]) : DEFAULT_KEPT_EVENTS;
        var server = new MongoServer(new ReplicaSet("127.0.0.1:" + port, new ChangeLog(kept)));
        server.bind(new InetSocketAddress("127.0.0.1", port), 1, WORKER_THREADS);
        System.out.println("listening on port " + port + ", keeping " + kept + " change events");
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        Thread.currentThread().join();
    }
}
