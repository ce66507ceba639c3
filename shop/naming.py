"""Names made from hashes, in letters only."""

import hashlib

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def letters(identity: str, length: int) -> str:
    """The first `length` letters (at most 64) of a hash of `identity`; the same in every run.

    No digits: a hash in hexadecimal would now and then hold digits enough to look like a card number.
    """
    return hashlib.blake2b(identity.encode(), digest_size=32).hexdigest().translate(_LETTERS)[:length]
