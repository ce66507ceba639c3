package headrace.mongo;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.aggregation.Aggregation;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.backend.memory.MemoryDatabase;
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.oplog.NoopOplog;
import io.netty.channel.Channel;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * Dispatches commands: those of a replica set are answered here, the others by mongo-java-server.
 *
 * <p>One command at a time touches the store, and answers are copied while it does: the server below hands out its
 * live documents, which another connection's update would change while they are being sent. Only a getMore on a
 * change stream, which may wait, runs beside the others.
 */
final class ReplicaSet extends MemoryBackend {

    private static final String NAME = "rs0";
    private static final int WIRE_VERSION = 17;

    private final Object store = new Object();
    private final String host;
    private final ChangeLog log;
    private final ChangeStreams streams;
    private final Accepted accepted = new Accepted();

    ReplicaSet(String host, ChangeLog log) {
        this.host = host;
        this.log = log;
        this.streams = new ChangeStreams(log);
        version(new MongoVersion() {
            @Override
            public List<Integer> getVersionArray() {
                return List.of(6, 0, 0, 0);
            }

            @Override
            public String toVersionString() {
                return "6.0.0";
            }

            @Override
            public int getWireVersion() {
                return WIRE_VERSION;
            }
        });
    }

    /** Run {@code last}, then end this process: no write is confirmed after it has begun. */
    void endAfter(Runnable last) {
        synchronized (store) {
            last.run();
            Runtime.getRuntime().halt(0);
        }
    }

    @Override
    public MemoryDatabase openOrCreateDatabase(String name) {
        return new RecordingDatabase(name, getCursorRegistry(), log);
    }

    @Override
    public void dropDatabase(String name) {
        super.dropDatabase(name);
        log.append(name, null, new Document("operationType", "dropDatabase").append("ns", new Document("db", name)));
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
        String lower = command.toLowerCase(Locale.ROOT);
        refuse(lower, query);
        if (lower.equals("getmore") && streams.isOpen(query.get("getMore"))) {
            return stamped(streams.more(query));
        }
        synchronized (store) {
            Document answer = own(database, lower, query);
            if (answer == null) {
                answer = adjusted(database, lower, query, super.handleCommand(channel, database, command, accept(lower, query)));
            }
            return stamped(answer.cloneDeeply());
        }
    }

    private static void refuse(String command, Document query) {
        if (Boolean.TRUE.equals(query.get("startTransaction")) || query.containsKey("autocommit")) {
            throw unsupported("transactions");
        }
        if (command.equals("renamecollection")) {
            throw unsupported("renaming a collection");
        }
        if (command.equals("aggregate") && query.get("pipeline") instanceof List<?> stages) {
            for (Object stage : stages) {
                if (stage instanceof Document d && (d.containsKey("$out") || d.containsKey("$merge"))) {
                    throw unsupported("$out and $merge");
                }
            }
        }
    }

    private static MongoServerError unsupported(String what) {
        return new MongoServerError(115, "CommandNotSupported", "this stand-in for MongoDB does not support " + what);
    }

    /** The answer to a command that the server below lacks or gets wrong; null for all others. */
    private Document own(String database, String command, Document query) {
        switch (command) {
            case "hello", "ismaster":
                return hello(command);
            case "startsession":
                return new Document("id", new Document("id", UUID.randomUUID())).append("timeoutMinutes", 30).append("ok", 1.0);
            case "endsessions", "refreshsessions", "killsessions":
                return new Document("ok", 1.0);
            case "collmod":
                String collection = (String) query.get("collMod");
                resolveDatabase(database).resolveCollection(collection, true);
                accepted.collectionOptions(database, collection, query);
                return new Document("ok", 1.0);
            case "aggregate":
                return ChangeStreams.isRequested(query.get("pipeline")) ? openStream(database, query) : null;
            case "listcollections":
                return database.equals("admin") ? cursor("admin.$cmd.listCollections", List.of()) : null;
            case "killcursors":
                return killStreams(query);
            default:
                return accepted.handle(database, command, query);
        }
    }

    private Document openStream(String database, Document query) {
        List<Document> stages = new ArrayList<>(Aggregation.parse(query.get("pipeline")));
        Document options = (Document) stages.remove(0).get("$changeStream");
        return streams.open(database, query, options, stages.isEmpty() ? null : pipeline(database, stages));
    }

    private Aggregation pipeline(String database, List<Document> stages) {
        MongoDatabase resolved = resolveDatabase(database);
        return Aggregation.fromPipeline(stages, this::resolveDatabase, resolved, null, NoopOplog.get());
    }

    /** All cursors of one command are of one kind, as they are of one collection's stream or query. */
    private Document killStreams(Document query) {
        var killed = new ArrayList<Object>();
        var others = new ArrayList<Object>();
        for (Object id : (List<?>) query.get("cursors")) {
            (streams.close(id) ? killed : others).add(id);
        }
        if (killed.isEmpty()) {
            return null;
        }
        return new Document("cursorsKilled", killed).append("cursorsNotFound", others)
            .append("cursorsAlive", List.of()).append("cursorsUnknown", List.of()).append("ok", 1.0);
    }

    /** The command as the server below can take it: an update by pipeline is a list, which it cannot. */
    private static Document accept(String command, Document query) {
        if (command.equals("update")) {
            for (Object each : (List<?>) query.get("updates")) {
                wrap((Document) each, "u");
            }
        } else if (command.equals("findandmodify")) {
            wrap(query, "update");
        }
        return query;
    }

    private static void wrap(Document holder, String field) {
        if (holder.get(field) instanceof List<?> stages) {
            holder.put(field, RecordingCollection.wrapPipeline(stages));
        }
    }

    /** The answer of the server below, with what it does not know. */
    private Document adjusted(String database, String command, Document query, Document answer) {
        switch (command) {
            case "create" -> accepted.collectionOptions(database, (String) query.get("create"), query);
            case "drop" -> accepted.forgetCollection(database + "." + query.get("drop"));
            case "listcollections" -> {
                return describeCollections(database, query, answer);
            }
            default -> { }
        }
        return answer;
    }

    private Document describeCollections(String database, Document query, Document answer) {
        Stream<Document> collections = ((List<?>) ((Document) answer.get("cursor")).get("firstBatch")).stream()
            .map(each -> ((Document) each).clone())
            .map(each -> each.append("options", accepted.collectionOptions(database, (String) each.get("name"))));
        List<Document> found = query.get("filter") instanceof Document filter && !filter.isEmpty()
            ? pipeline(database, List.of(new Document("$match", filter))).runStages(collections)
            : collections.toList();
        return cursor(database + ".$cmd.listCollections", found);
    }

    private static Document cursor(String namespace, List<Document> batch) {
        return new Document("cursor", new Document("id", 0L).append("ns", namespace).append("firstBatch", batch))
            .append("ok", 1.0);
    }

    private Document hello(String command) {
        Instant now = Instant.now();
        Document reached = new Document("ts", log.now()).append("t", 1L);
        return new Document("helloOk", true)
            .append(command.equals("hello") ? "isWritablePrimary" : "ismaster", true)
            .append("secondary", false)
            .append("setName", NAME)
            .append("setVersion", 1)
            .append("hosts", List.of(host))
            .append("primary", host)
            .append("me", host)
            .append("lastWrite", new Document("opTime", reached).append("lastWriteDate", now)
                .append("majorityOpTime", reached).append("majorityWriteDate", now))
            .append("maxBsonObjectSize", 16 * 1024 * 1024)
            .append("maxMessageSizeBytes", 48_000_000)
            .append("maxWriteBatchSize", 100_000)
            .append("localTime", now)
            .append("logicalSessionTimeoutMinutes", 30)
            .append("connectionId", 1)
            .append("minWireVersion", 0)
            .append("maxWireVersion", WIRE_VERSION)
            .append("readOnly", false)
            .append("ok", 1.0);
    }

    /** Every member of a replica set says with each answer how far its clock is; change streams start from there. */
    private Document stamped(Document answer) {
        BsonTimestamp time = log.now();
        Document unsigned = new Document("hash", new BinData(new byte[20])).append("keyId", 0L);
        answer.put("operationTime", time);
        answer.put("$clusterTime", new Document("clusterTime", time).append("signature", unsigned));
        return answer;
    }
}
