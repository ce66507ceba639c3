package headrace.mongo;

import de.bwaldvogel.mongo.backend.aggregation.Aggregation;
import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The open change streams: where each one is, and what it lets through. */
final class ChangeStreams {

    private static final int FIRST_BATCH = 101;
    private static final int NEXT_BATCH = 1_000;
    private static final long LONGEST_WAIT_MS = 1_000;
    private static final long FORGOTTEN_AFTER_NS = 1_800_000_000_000L;

    /** Cursor ids start here, far above those of ordinary cursors. */
    private static final long FIRST_ID = 1L << 40;

    private static final class Subscription {
        final String namespace;
        final String database;
        final String collection;
        final boolean lookup;
        final Aggregation pipeline;
        long position;
        long usedAt = System.nanoTime();

        Subscription(String namespace, String database, String collection, boolean lookup, Aggregation pipeline) {
            this.namespace = namespace;
            this.database = database;
            this.collection = collection;
            this.lookup = lookup;
            this.pipeline = pipeline;
        }

        List<Document> select(ChangeLog.Entry entry) {
            if (database != null && !database.equals(entry.database())
                || collection != null && !collection.equals(entry.collection())) {
                return List.of();
            }
            Document event = entry.event().cloneDeeply();
            if (!lookup && "update".equals(event.get("operationType"))) {
                event.remove("fullDocument");
            }
            return pipeline == null
                ? List.of(event)
                : pipeline.runStagesAsStream(Stream.of(event)).collect(Collectors.toList());
        }
    }

    private final ChangeLog log;
    private final Map<Long, Subscription> open = new ConcurrentHashMap<>();
    private final AtomicLong nextId = new AtomicLong(FIRST_ID);

    ChangeStreams(ChangeLog log) {
        this.log = log;
    }

    static boolean isRequested(Object pipeline) {
        return pipeline instanceof List<?> stages && !stages.isEmpty()
            && stages.get(0) instanceof Document first && first.containsKey("$changeStream");
    }

    /** Open a stream for an aggregate command; {@code pipeline} holds the stages after $changeStream, or is null. */
    Document open(String database, Document command, Document options, Aggregation pipeline) {
        forgetAbandoned();
        String collection = command.get("aggregate") instanceof String name ? name : null;
        boolean everything = Boolean.TRUE.equals(options.get("allChangesForCluster"));
        if ("required".equals(options.get("fullDocumentBeforeChange"))) {
            throw new MongoServerError(47, "NoMatchingDocument", "this stand-in keeps no images from before a change");
        }
        var stream = new Subscription(
            database + "." + (collection == null ? "$cmd.aggregate" : collection), everything ? null : database,
            collection, !"default".equals(options.getOrDefault("fullDocument", "default")), pipeline);
        stream.position = start(options);
        log.requireComplete(stream.position);
        long id = nextId.getAndIncrement();
        open.put(id, stream);
        Number size = command.get("cursor") instanceof Document cursor ? (Number) cursor.get("batchSize") : null;
        return reply(id, stream, "firstBatch", size == null ? FIRST_BATCH : size.intValue(), 0);
    }

    private long start(Document options) {
        for (String option : List.of("resumeAfter", "startAfter")) {
            if (options.get(option) != null) {
                return ResumeToken.parse(options.get(option));
            }
        }
        if (options.get("startAtOperationTime") instanceof BsonTimestamp time) {
            return time.getValue() - 1; // that moment included
        }
        return log.now().getValue();
    }

    boolean isOpen(Object cursorId) {
        return cursorId instanceof Number id && open.containsKey(id.longValue());
    }

    /** Answer a getMore; waits for an event as long as it asks, but no longer than a second. */
    Document more(Document command) {
        long id = ((Number) command.get("getMore")).longValue();
        Subscription stream = open.get(id);
        if (stream == null) {
            throw new MongoServerError(43, "CursorNotFound", "cursor id " + id + " not found");
        }
        Number size = (Number) command.get("batchSize");
        Number wait = (Number) command.get("maxTimeMS");
        return reply(id, stream, "nextBatch", size == null || size.intValue() <= 0 ? NEXT_BATCH : size.intValue(),
            wait == null ? LONGEST_WAIT_MS : Math.min(wait.longValue(), LONGEST_WAIT_MS));
    }

    boolean close(Object cursorId) {
        return cursorId instanceof Number id && open.remove(id.longValue()) != null;
    }

    private Document reply(long id, Subscription stream, String field, int limit, long patienceMs) {
        stream.usedAt = System.nanoTime();
        ChangeLog.Batch batch = log.read(stream.position, limit, patienceMs, stream::select);
        stream.position = batch.position();
        Document cursor = new Document("id", id).append("ns", stream.namespace).append(field, batch.events())
            .append("postBatchResumeToken", ResumeToken.of(batch.position()));
        return new Document("cursor", cursor).append("ok", 1.0);
    }

    private void forgetAbandoned() {
        long now = System.nanoTime();
        open.values().removeIf(stream -> now - stream.usedAt > FORGOTTEN_AFTER_NS);
    }
}
