"""The archive: immutable Avro files, and a manifest that defines its content."""
