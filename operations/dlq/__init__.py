"""Dead letters: list, redrive and discard records that could not be decoded or stored."""
