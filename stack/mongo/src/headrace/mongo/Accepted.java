package headrace.mongo;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What is accepted and shown again, but not enforced: users, roles, and collections' validators.
 *
 * <p>Migrations can so be the same here and on a real MongoDB. Each acceptance is logged as what it is.
 */
final class Accepted {

    private static final Set<String> OPTIONS =
        Set.of("validator", "validationLevel", "validationAction", "changeStreamPreAndPostImages");

    private final Map<String, Document> users = new LinkedHashMap<>();
    private final Map<String, Document> roles = new LinkedHashMap<>();
    private final Map<String, Document> options = new LinkedHashMap<>();

    /** The answer to a command about users or roles, or null if {@code command} is none. */
    synchronized Document handle(String database, String command, Document query) {
        return switch (command) {
            case "createuser" -> create(users, database, "user", 51003, query);
            case "createrole" -> create(roles, database, "role", 51002, query);
            case "updateuser" -> update(users, database, "user", 11, query);
            case "updaterole" -> update(roles, database, "role", 31, query);
            case "dropuser" -> drop(users, database, 11, query);
            case "droprole" -> drop(roles, database, 31, query);
            case "usersinfo" -> info(users, "users", database, query);
            case "rolesinfo" -> info(roles, "roles", database, query);
            case "grantrolestouser", "revokerolesfromuser", "grantrolestorole", "revokerolesfromrole",
                "grantprivilegestorole", "revokeprivilegesfromrole" -> {
                note(command, database, query);
                yield ok();
            }
            case "saslstart", "saslcontinue", "authenticate" -> throw new MongoServerError(18, "AuthenticationFailed",
                "this stand-in has no authentication; connect without a user");
            default -> null;
        };
    }

    /** Remember a collection's options from create or collMod, which the server below knows nothing of. */
    synchronized void collectionOptions(String database, String collection, Document command) {
        var given = new Document();
        OPTIONS.stream().filter(command::containsKey).forEach(name -> given.put(name, command.get(name)));
        if (!given.isEmpty()) {
            System.out.println("accepted, not enforced: " + given.keySet() + " of " + database + "." + collection);
            options.computeIfAbsent(database + "." + collection, missing -> new Document()).putAll(given);
        }
    }

    synchronized Document collectionOptions(String database, String collection) {
        return options.getOrDefault(database + "." + collection, new Document());
    }

    synchronized void forgetCollection(String namespace) {
        options.remove(namespace);
    }

    private Document create(Map<String, Document> known, String database, String kind, int duplicate, Document query) {
        String name = name(query);
        String key = database + "." + name;
        if (known.containsKey(key)) {
            throw new MongoServerError(duplicate, "Location" + duplicate, key + " already exists");
        }
        note(kind, database, query);
        known.put(key, new Document("_id", key).append(kind, name).append("db", database)
            .append("roles", query.getOrDefault("roles", List.of()))
            .append("privileges", query.getOrDefault("privileges", List.of())));
        return ok();
    }

    private Document update(Map<String, Document> known, String database, String kind, int missing, Document query) {
        Document entry = require(known, database, missing, query);
        note(kind, database, query);
        for (String field : List.of("roles", "privileges")) {
            if (query.containsKey(field)) {
                entry.put(field, query.get(field));
            }
        }
        return ok();
    }

    private Document drop(Map<String, Document> known, String database, int missing, Document query) {
        require(known, database, missing, query);
        known.remove(database + "." + name(query));
        return ok();
    }

    private static Document info(Map<String, Document> known, String field, String database, Document query) {
        Object wanted = query.get(query.keySet().iterator().next());
        if (wanted instanceof Document one) {
            wanted = one.get(field.substring(0, 4));
        }
        var found = new ArrayList<Document>();
        for (Document entry : known.values()) {
            boolean named = wanted instanceof String name && !name.equals(entry.get(field.substring(0, 4)));
            if (!named && database.equals(entry.get("db"))) {
                found.add(entry.cloneDeeply());
            }
        }
        return new Document(field, found).append("ok", 1.0);
    }

    private static Document require(Map<String, Document> known, String database, int code, Document query) {
        Document entry = known.get(database + "." + name(query));
        if (entry == null) {
            throw new MongoServerError(code, code == 11 ? "UserNotFound" : "RoleNotFound", name(query) + " not found");
        }
        return entry;
    }

    private static String name(Document query) {
        return String.valueOf(query.get(query.keySet().iterator().next()));
    }

    private static void note(String what, String database, Document query) {
        System.out.println("accepted, not enforced: " + what + " " + database + "." + name(query));
    }

    private static Document ok() {
        return new Document("ok", 1.0);
    }
}
