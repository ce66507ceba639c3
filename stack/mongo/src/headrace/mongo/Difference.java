package headrace.mongo;

import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** What an update changed, told as MongoDB's updateDescription: from the two images, whatever operators were used. */
final class Difference {

    private final Document updated = new Document();
    private final List<Object> removed = new ArrayList<>();

    private Difference() {}

    static Document describe(Document before, Document after) {
        var difference = new Difference();
        difference.compare("", before, after);
        return new Document("updatedFields", difference.updated)
            .append("removedFields", difference.removed)
            .append("truncatedArrays", new ArrayList<>());
    }

    private void compare(String prefix, Document before, Document after) {
        for (String field : before.keySet()) {
            if (!after.containsKey(field)) {
                removed.add(prefix + field);
            }
        }
        for (var entry : after.entrySet()) {
            String path = prefix + entry.getKey();
            Object was = before.get(entry.getKey());
            Object is = entry.getValue();
            if (was instanceof Document inner && is instanceof Document outer) {
                compare(path + ".", inner, outer);
            } else if (!before.containsKey(entry.getKey()) || !Objects.equals(was, is)) {
                updated.put(path, is);
            }
        }
    }
}
