// Create what no migration can: the replica set of one node, and the users. Repeating it is harmless.
// The roles are empty here. `headrace migrate` gives them their privileges (migrations/catalog/0004_roles.json).

const password = (name) => process.env[name];
const root = encodeURIComponent(password("MONGODB_ROOT_PASSWORD"));
const server = new Mongo(`mongodb://root:${root}@mongodb:27017/?directConnection=true`);
const admin = server.getDB("admin");
const catalog = server.getDB("catalog");

try {
  admin.runCommand({ replSetGetStatus: 1 });
} catch (notYet) {
  if (notYet.codeName !== "NotYetInitialized") throw notYet;
  admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] } });
}
while (!admin.runCommand({ hello: 1 }).isWritablePrimary) sleep(200);

for (const role of ["catalog_reader", "catalog_writer"]) {
  if (!catalog.getRole(role)) catalog.createRole({ role, privileges: [], roles: [] });
}

const USERS = {
  catalog_migrator: { password: "CATALOG_MIGRATOR_PASSWORD", roles: ["dbOwner"] },
  catalog_reader: { password: "CATALOG_READER_PASSWORD", roles: ["catalog_reader"] },
  catalog_writer: { password: "CATALOG_WRITER_PASSWORD", roles: ["catalog_reader", "catalog_writer"] },
};
for (const [user, { password: name, roles }] of Object.entries(USERS)) {
  if (!admin.getUser(user)) {
    admin.createUser({ user, pwd: password(name), roles: roles.map((role) => ({ role, db: "catalog" })) });
  }
}
