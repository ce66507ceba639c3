"""The catalog in memory: every product's history, and how far it is known. Filled by catalog_reader.py."""

from collections import deque
from datetime import datetime, timedelta

from schemas.decoders.values import microseconds
from streams.asof import CatalogEntry, History, Product, with_entry

# An entry's valid_from is the server's time when its write began; the write reaches the log a moment later, perhaps
# behind a heartbeat with a later time.
SLACK = timedelta(seconds=1)


class Catalog:
    """One thread adds, another asks: each step leaves a state that is right to read."""

    def __init__(self, slack: timedelta = SLACK) -> None:
        self._histories: dict[Product, History] = {}
        self._slack = slack
        self._names: dict[str, str] = {}
        self.watermark = 0
        self.entries = 0
        self.arrived: deque[Product] = deque()
        """Products that have got an entry since this was last emptied."""

    def history(self, product: Product) -> History:
        """The product's entries in the order of valid_from; empty for an unknown one."""
        return self._histories.get(product, ())

    def add(self, product: Product, entry: CatalogEntry) -> bool:
        """Takes one entry; the same one again changes nothing.

        Returns whether it is late: it lies below the watermark, so lines for which it is valid may have been decided.
        A product's first entry is not: until then its lines wait.
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
        """A heartbeat that is believed up to `at` was read: what was written `slack` before it has been read too."""
        self.watermark = max(self.watermark, microseconds(at - self._slack))

    def _one(self, text: str) -> str:
        return self._names.setdefault(text, text)
