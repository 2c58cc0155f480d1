"""One way to write a value down, so that equal values have equal digests."""

import hashlib
import json
from typing import Any

__all__ = ["canonical_json", "digest"]


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces.

    Raises:
        ValueError: It holds NaN or an infinity, which JSON has no words for.
        TypeError: It holds something that JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of :func:`canonical_json`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
