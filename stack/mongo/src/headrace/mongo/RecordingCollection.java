package headrace.mongo;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.ArrayFilters;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.aggregation.Aggregation;
import de.bwaldvogel.mongo.backend.memory.MemoryCollection;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.bson.ObjectId;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.oplog.NoopOplog;
import de.bwaldvogel.mongo.oplog.Oplog;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A collection that writes an event for each change of a document.
 *
 * <p>It listens where documents are stored, below all commands: so an upsert, a findAndModify or a bulk write cannot
 * bypass it, both images are at hand, and an update that changes nothing says nothing.
 */
final class RecordingCollection extends MemoryCollection {

    /** How an update by aggregation pipeline, a list, gets through an interface that wants a document. */
    private static final String PIPELINE = "$pipeline";

    private static final Set<String> UPDATE_STAGES =
        Set.of("$set", "$addFields", "$unset", "$project", "$replaceRoot", "$replaceWith");

    private final ChangeLog log;
    private boolean replacing;

    RecordingCollection(MongoDatabase database, String name, CollectionOptions options, CursorRegistry cursors,
                        ChangeLog log) {
        super(database, name, options, cursors);
        this.log = log;
    }

    static Document wrapPipeline(List<?> stages) {
        return new Document(PIPELINE, stages);
    }

    @Override
    protected Integer addDocumentInternal(Document document) {
        Integer position = super.addDocumentInternal(document);
        record("insert", document, new Document("fullDocument", document));
        return position;
    }

    @Override
    protected void handleUpdate(Integer position, Document before, Document after) {
        super.handleUpdate(position, before, after);
        var body = new Document("fullDocument", after);
        if (replacing) {
            record("replace", after, body);
        } else {
            record("update", after, body.append("updateDescription", Difference.describe(before, after)));
        }
    }

    @Override
    protected void removeDocument(Integer position) {
        Document document = getDocument(position);
        super.removeDocument(position);
        record("delete", document, new Document());
    }

    private void record(String operation, Document document, Document body) {
        // The stored document goes on changing; an event does not.
        Document event = new Document("operationType", operation)
            .append("ns", new Document("db", getDatabase().getDatabaseName()).append("coll", getCollectionName()))
            .append("documentKey", new Document("_id", document.get("_id")));
        event.putAll(body);
        log.append(getDatabase().getDatabaseName(), getCollectionName(), event.cloneDeeply());
    }

    @Override
    public Document updateDocuments(Document selector, Document update, ArrayFilters arrayFilters, boolean multi,
                                    boolean upsert, Oplog oplog) {
        if (update.get(PIPELINE) instanceof List<?> stages) {
            return updateByPipeline(selector, stages, multi, upsert, oplog);
        }
        replacing = isReplacement(update);
        try {
            return super.updateDocuments(selector, dated(update), arrayFilters, multi, upsert, oplog);
        } finally {
            replacing = false;
        }
    }

    private Document updateByPipeline(Document selector, List<?> stages, boolean multi, boolean upsert, Oplog oplog) {
        int matched = 0;
        int modified = 0;
        for (Document document : matching(selector, null, multi ? 0 : 1)) {
            Document replacement = run(stages, document);
            Document done = super.updateDocuments(new Document("_id", document.get("_id")), replacement,
                ArrayFilters.empty(), false, false, oplog);
            matched++;
            modified += ((Number) done.get("nModified")).intValue();
        }
        var result = new Document("n", matched).append("nModified", modified);
        if (matched == 0 && upsert) {
            Document created = run(stages, equalities(selector));
            created.computeIfAbsent("_id", missing -> new ObjectId());
            addDocument(created);
            result.append("upserted", created.get("_id"));
        }
        return result;
    }

    @Override
    public Document findAndModify(Document command) {
        Document update = (Document) command.get("update");
        if (update == null) {
            return super.findAndModify(command);
        }
        if (update.get(PIPELINE) instanceof List<?> stages) {
            return findAndModifyByPipeline(command, stages);
        }
        replacing = isReplacement(update);
        try {
            return super.findAndModify(command.clone().append("update", dated(update)));
        } finally {
            replacing = false;
        }
    }

    private Document findAndModifyByPipeline(Document command, List<?> stages) {
        Document selector = (Document) command.getOrDefault("query", new Document());
        List<Document> found = matching(selector, (Document) command.get("sort"), 1);
        Document byId = command.clone();
        byId.remove("sort");
        if (found.isEmpty()) {
            byId.put("update", run(stages, equalities(selector)));
        } else {
            byId.put("query", new Document("_id", found.get(0).get("_id")));
            byId.put("update", run(stages, found.get(0)));
        }
        return super.findAndModify(byId);
    }

    private List<Document> matching(Document selector, Document sort, int limit) {
        var found = new ArrayList<Document>();
        queryDocuments(selector, sort, 0, limit, 0, null).forEach(found::add);
        return found;
    }

    private Document run(List<?> stages, Document document) {
        List<Document> pipeline = Aggregation.parse(stages).stream().map(RecordingCollection::withoutAlias).toList();
        return Aggregation.fromPipeline(pipeline, name -> getDatabase(), getDatabase(), this, NoopOplog.get())
            .runStages(Stream.of(inMilliseconds(document)))
            .stream().findFirst().map(RecordingCollection::inMilliseconds).orElseThrow();
    }

    /**
     * The update with each {@code $currentDate} as a {@code $set} of now. Below, it would store a time finer than the
     * wire's milliseconds: one that no client could read back and find the document by.
     */
    private static Document dated(Document update) {
        if (!(update.get("$currentDate") instanceof Document current)) {
            return update;
        }
        Instant now = Instant.now().truncatedTo(ChronoUnit.MILLIS);
        Document set = update.get("$set") instanceof Document given ? given.clone() : new Document();
        Document kept = new Document();
        current.forEach((field, type) -> {
            boolean date = Boolean.TRUE.equals(type) || new Document("$type", "date").equals(type);
            (date ? set : kept).put(field, date ? now : type);
        });
        Document dated = update.clone().append("$set", set).append("$currentDate", kept);
        (set.isEmpty() ? List.of("$set") : kept.isEmpty() ? List.of("$currentDate") : List.<String>of()).forEach(dated::remove);
        return dated;
    }

    /** A deep copy in which no time is finer than the wire's milliseconds, as {@code $$NOW} is. */
    private static Document inMilliseconds(Document document) {
        Document copy = document.cloneDeeply();
        copy.replaceAll((field, value) ->
            value instanceof Instant time ? time.truncatedTo(ChronoUnit.MILLIS)
                : value instanceof Document inner ? inMilliseconds(inner)
                : value);
        return copy;
    }

    /** The stage under the name that mongo-java-server knows it by. */
    private static Document withoutAlias(Document stage) {
        if (!UPDATE_STAGES.containsAll(stage.keySet())) {
            throw new MongoServerError(72, "InvalidOptions", "not allowed in an update: " + stage.keySet());
        }
        Object fields = stage.getOrDefault("$set", stage.get("$addFields"));
        if (fields instanceof Document set) {
            // Below, a dotted name would be stored as such instead of reaching into a sub-document.
            if (set.keySet().stream().anyMatch(field -> field.contains("."))) {
                throw new MongoServerError(115, "CommandNotSupported", "this stand-in has no dotted names in $set stages");
            }
            return new Document("$addFields", set);
        }
        if (stage.containsKey("$replaceWith")) {
            return new Document("$replaceRoot", new Document("newRoot", stage.get("$replaceWith")));
        }
        return stage;
    }

    /** The fields that an upsert takes over from its filter: those that the filter sets equal to a value. */
    private static Document equalities(Document selector) {
        var fields = new Document();
        selector.forEach((field, value) -> {
            boolean operator = value instanceof Document inner && inner.keySet().stream().anyMatch(k -> k.startsWith("$"));
            if (!field.startsWith("$") && !field.contains(".") && !operator) {
                fields.put(field, value);
            }
        });
        return fields.cloneDeeply();
    }

    private static boolean isReplacement(Document update) {
        return update.keySet().stream().noneMatch(field -> field.startsWith("$"));
    }
}
