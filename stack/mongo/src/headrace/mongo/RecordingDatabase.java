package headrace.mongo;

import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.memory.MemoryCollection;
import de.bwaldvogel.mongo.backend.memory.MemoryDatabase;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.Oplog;
import java.util.Set;

/** A database whose collections write events; the server's own databases and collections write none. */
final class RecordingDatabase extends MemoryDatabase {

    private static final Set<String> INTERNAL = Set.of("admin", "config", "local");

    private final ChangeLog log;

    RecordingDatabase(String name, CursorRegistry cursors, ChangeLog log) {
        super(name, cursors);
        this.log = log;
    }

    private boolean isRecorded(String collection) {
        return isRecorded(getDatabaseName(), collection);
    }

    static boolean isRecorded(String database, String collection) {
        return !INTERNAL.contains(database) && !collection.startsWith("system.");
    }

    @Override
    protected MemoryCollection openOrCreateCollection(String collection, CollectionOptions options) {
        // The superclass's constructor opens system collections before `log` is set; those are not recorded.
        return isRecorded(collection)
            ? new RecordingCollection(this, collection, options, cursorRegistry, log)
            : super.openOrCreateCollection(collection, options);
    }

    @Override
    public void dropCollection(String collection, Oplog oplog) {
        super.dropCollection(collection, oplog);
        if (isRecorded(collection)) {
            var namespace = new Document("db", getDatabaseName()).append("coll", collection);
            log.append(getDatabaseName(), collection, new Document("operationType", "drop").append("ns", namespace));
        }
    }
}
