"""Make names from hashes, with letters only."""

import hashlib

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def letters(identity: str, length: int) -> str:
    """Return the first `length` letters (at most 64) of a hash of `identity`; the same in every run.

    Digits are avoided: a hexadecimal hash would sometimes contain enough of them to look like a card number.
    """
    return hashlib.blake2b(identity.encode(), digest_size=32).hexdigest().translate(_LETTERS)[:length]
