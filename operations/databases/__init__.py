"""Read the sources and reporting for comparison: rows, sums of hashes, and how far reporting has landed."""
