package headrace.mongo;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.bson.BsonDecoder;
import de.bwaldvogel.mongo.wire.bson.BsonEncoder;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.embedded.EmbeddedChannel;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;

/**
 * What the server holds, in a file between a stop and the next start: the commands that make it again, and the change
 * log, so that change streams go on where they were.
 *
 * <p>The file is used up by the start. After a crash there is none: the server then is empty and says that history is
 * lost, which is better than data from before the last stop that passes for today's.
 */
final class Kept {

    private final Path file;
    private final ReplicaSet server;
    private final ChangeLog log;
    private final Channel nobody = new EmbeddedChannel();

    Kept(Path file, ReplicaSet server, ChangeLog log) {
        this.file = file;
        this.server = server;
        this.log = log;
    }

    void load() throws IOException {
        if (!Files.exists(file)) {
            return;
        }
        ByteBuf in = Unpooled.wrappedBuffer(Files.readAllBytes(file));
        Document end = BsonDecoder.decodeBson(in);
        var events = new ArrayList<Document>();
        while (in.isReadable()) {
            Document each = BsonDecoder.decodeBson(in);
            if (each.get("command") instanceof Document command) {
                run((String) each.get("database"), command);
            } else {
                events.add(each);
            }
        }
        log.restore(end, events);
    }

    void delete() throws IOException {
        Files.deleteIfExists(file);
    }

    /** Whole or not at all. Nothing may be written to the server meanwhile. */
    void save() throws IOException {
        Path beside = file.resolveSibling(file.getFileName() + ".new");
        try (OutputStream out = Files.newOutputStream(beside)) {
            write(out, log.end());
            for (Document database : list(run("admin", new Document("listDatabases", 1)), "databases")) {
                save(out, (String) database.get("name"));
            }
            for (Document event : log.events()) {
                write(out, event);
            }
        }
        Files.move(beside, file, StandardCopyOption.ATOMIC_MOVE);
    }

    private void save(OutputStream out, String database) throws IOException {
        for (Document each : batch(run(database, new Document("listCollections", 1)))) {
            String name = (String) each.get("name");
            if (!RecordingDatabase.isRecorded(database, name)) {
                continue;
            }
            Document create = new Document("create", name);
            create.putAll((Document) each.get("options"));
            command(out, database, create);
            List<Document> indexes = batch(run(database, new Document("listIndexes", name))).stream()
                .filter(index -> !"_id_".equals(index.get("name"))).toList();
            if (!indexes.isEmpty()) {
                command(out, database, new Document("createIndexes", name).append("indexes", indexes));
            }
            for (Document document : server.resolveDatabase(database).resolveCollection(name, true).queryAll()) {
                command(out, database, new Document("insert", name).append("documents", List.of(document)));
            }
        }
    }

    private Document run(String database, Document command) {
        return server.handleCommand(nobody, database, command.keySet().iterator().next(), command);
    }

    private static List<Document> batch(Document answer) {
        return list((Document) answer.get("cursor"), "firstBatch");
    }

    private static List<Document> list(Document holder, String field) {
        return ((List<?>) holder.get(field)).stream().map(Document.class::cast).toList();
    }

    private static void command(OutputStream out, String database, Document command) throws IOException {
        write(out, new Document("database", database).append("command", command));
    }

    private static void write(OutputStream out, Document document) throws IOException {
        ByteBuf bytes = Unpooled.buffer();
        BsonEncoder.encodeDocument(document, bytes);
        bytes.readBytes(out, bytes.readableBytes());
    }
}
