"""The catalog in memory: every product's history, and the watermark. catalog_reader.py fills it."""

from collections import deque
from datetime import datetime, timedelta

from schemas.decoders.values import microseconds
from streams.asof import CatalogEntry, History, Product, with_entry

# An entry's valid_from is the server's time when its write began; the write reaches the log a moment later, perhaps
# after a heartbeat with a later time.
SLACK = timedelta(seconds=1)


class Catalog:
    """The entries and the watermark. One thread writes, another reads; each step leaves a consistent state."""

    def __init__(self, slack: timedelta = SLACK) -> None:
        self._histories: dict[Product, History] = {}
        self._slack = slack
        self._names: dict[str, str] = {}
        self.watermark = 0
        self.entries = 0
        self.arrived: deque[Product] = deque()
        """Products that have received an entry since this queue was last emptied."""

    def history(self, product: Product) -> History:
        """Return the product's entries in the order of valid_from, empty for an unknown product."""
        return self._histories.get(product, ())

    def add(self, product: Product, entry: CatalogEntry) -> bool:
        """Add one entry and return whether it is late. The same entry again changes nothing.

        A late entry is below the watermark, so lines for which it is valid may have been decided. A product's first
        entry is never late: until then its lines wait.
        """
        known = self.history(product)
        # Tenants, names and categories repeat over thousands of entries.
        tenant, sku = product
        entry = entry._replace(name=self._one(entry.name), category=self._one(entry.category))
        self._histories[self._one(tenant), sku] = history = with_entry(known, entry)
        self.entries += len(history) - len(known)
        self.arrived.append(product)
        return bool(known) and len(history) > len(known) and entry.valid_from <= self.watermark

    def heartbeat(self, at: datetime) -> None:
        """Advance the watermark: a heartbeat trusted up to `at` shows that entries up to `at - slack` were read."""
        self.watermark = max(self.watermark, microseconds(at - self._slack))

    def _one(self, text: str) -> str:
        return self._names.setdefault(text, text)
