"""What an API key looks like: `archcast_`, 32 random characters and a checksum of six.

The prefix lets scanners for leaked secrets find keys, and the checksum tells them, and us, a key from a typing error without
a look at the database. 32 characters of 62 are 190 random bits.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib

PREFIX = "archcast_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_NUM_RANDOM, _NUM_CHECKED = 32, 6
_NUM_SHOWN = 6
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_NUM_RANDOM}}})([0-9A-Za-z]{{{_NUM_CHECKED}}})")
PATTERN = _FORM.pattern.replace("(", "").replace(")", "")
"""For scanners."""


def new_key() -> str:
    """A key that nobody has yet."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_NUM_RANDOM))
    return PREFIX + random + _checksum(random)


def problem_of(key: str) -> str | None:
    """What is wrong with the form of a key; None if nothing is."""
    found = _FORM.fullmatch(key)
    if found is None:
        return "a text of another form"
    if _checksum(found[1]) != found[2]:
        return "one with a typing error: its checksum is wrong"
    return None


def hint_of(key: str) -> str:
    """How it begins: enough to know it again, far too little to guess it."""
    return key[: len(PREFIX) + _NUM_SHOWN] + "…"


def _checksum(random: str) -> str:
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(_NUM_CHECKED):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
