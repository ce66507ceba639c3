package headrace.mongo;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;

/** A position in the change log as clients keep it: hexadecimal, sortable, and begun as MongoDB's tokens are. */
final class ResumeToken {

    /** The type byte of a timestamp; Debezium reads the cluster time behind it. */
    private static final String TIMESTAMP = "82";

    private ResumeToken() {}

    static Document of(long position) {
        return new Document("_data", TIMESTAMP + String.format("%016X", position));
    }

    static long parse(Object token) {
        if (token instanceof Document document && document.get("_data") instanceof String data
            && data.matches(TIMESTAMP + "[0-9A-Fa-f]{16}")) {
            return Long.parseUnsignedLong(data.substring(TIMESTAMP.length()), 16);
        }
        throw new MongoServerError(260, "InvalidResumeToken", "not a resume token of this server: " + token);
    }
}
