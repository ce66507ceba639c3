"""Retention: delete expired data once the archive is proven to hold it."""
