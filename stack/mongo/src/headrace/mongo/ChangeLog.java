package headrace.mongo;

import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * The newest change events, each at a cluster time of its own, and the clock that hands those times out.
 *
 * <p>Only so many events are kept. The time of the newest one that was let go is remembered: a reader who has not
 * seen it yet is told that history is lost, for nothing may ever be skipped in silence.
 */
final class ChangeLog {

    /** {@code database} and {@code collection} are those of the event, which is complete and never changed again. */
    record Entry(String database, String collection, Document event) {}

    /** What a reader got, and how far it has read: further than the last event, where others were filtered out. */
    record Batch(List<Document> events, long position) {}

    private final int kept;
    private final TreeMap<Long, Entry> entries = new TreeMap<>();
    private long newest;
    private long lost;

    ChangeLog(int kept) {
        this.kept = kept;
        // Nothing from before the start is known, so every time before it counts as lost. A server that crashed in
        // this very second may have handed out times of it: the clock begins behind them.
        newest = new BsonTimestamp(Instant.now().plusSeconds(2), 1).getValue();
        lost = newest - 1;
    }

    /** Go on from the {@code end} and the {@code events} of a server that has stopped. */
    synchronized void restore(Document end, List<Document> events) {
        newest = ((BsonTimestamp) end.get("newest")).getValue();
        lost = ((BsonTimestamp) end.get("lost")).getValue();
        entries.clear();
        for (Document event : events) {
            Document namespace = (Document) event.get("ns");
            entries.put(((BsonTimestamp) event.get("clusterTime")).getValue(),
                new Entry((String) namespace.get("db"), (String) namespace.get("coll"), event));
        }
    }

    /** Where the log ends, for {@code restore}: the newest time, and the last one that was let go. */
    synchronized Document end() {
        return new Document("newest", new BsonTimestamp(newest)).append("lost", new BsonTimestamp(lost));
    }

    /** The events that are kept, the oldest first. */
    synchronized List<Document> events() {
        return entries.values().stream().map(Entry::event).toList();
    }

    /** The time of the newest event, or of the start. */
    synchronized BsonTimestamp now() {
        return new BsonTimestamp(newest);
    }

    /** Give the event its time and resume token, and wake the waiting readers. */
    synchronized void append(String database, String collection, Document event) {
        Instant wall = Instant.now();
        newest = Math.max(newest + 1, new BsonTimestamp(wall, 1).getValue());
        var stamped = new Document("_id", ResumeToken.of(newest))
            .append("operationType", event.get("operationType"))
            .append("clusterTime", new BsonTimestamp(newest))
            .append("wallTime", wall);
        stamped.putAll(event);
        entries.put(newest, new Entry(database, collection, stamped));
        while (entries.size() > kept) {
            lost = entries.pollFirstEntry().getKey();
        }
        notifyAll();
    }

    /** Raise error 286 unless every event after {@code position} is still here. */
    synchronized void requireComplete(long position) {
        if (position < lost) {
            throw new MongoServerError(286, "ChangeStreamHistoryLost",
                "the change stream cannot go on from " + new BsonTimestamp(position)
                    + ": the events up to " + new BsonTimestamp(lost) + " are no longer kept");
        }
    }

    /**
     * The events after {@code position} that {@code select} lets through, at most {@code limit}; waits
     * {@code patienceMs} for the first one. {@code select} may turn an event into none, one or more documents.
     */
    synchronized Batch read(long position, int limit, long patienceMs, Function<Entry, List<Document>> select) {
        long end = System.nanoTime() + patienceMs * 1_000_000;
        long seen = position;
        var found = new ArrayList<Document>();
        while (true) {
            requireComplete(seen);
            for (var entry : entries.tailMap(seen, false).entrySet()) {
                if (found.size() >= limit) {
                    return new Batch(found, seen);
                }
                found.addAll(select.apply(entry.getValue()));
                seen = entry.getKey();
            }
            long leftMs = (end - System.nanoTime()) / 1_000_000;
            if (!found.isEmpty() || leftMs <= 0) {
                return new Batch(found, Math.max(seen, newest));
            }
            try {
                wait(leftMs);
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt();
                return new Batch(found, seen);
            }
        }
    }
}
