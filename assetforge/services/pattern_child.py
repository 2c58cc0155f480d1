"""The process that tries a regular expression of a user. Standard library only; :mod:`assetforge.services.text_patterns` starts it and ends it.

Reads one JSON document from standard input and writes one to standard output. It counts its own processor time, so that it ends even when whoever started it is gone.
"""

import json
import re
import resource
import sys
from contextlib import suppress
from typing import Any

__all__ = ["main"]

_MOST_BYTES = 2 << 30


def main() -> None:
    """Substitute in all texts, or say in one sentence why that cannot be done."""
    given = json.loads(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_CPU, (given["seconds"] + 1, given["seconds"] + 2))
    with suppress(ValueError, OSError):
        # Not every system can.
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    sys.stdout.buffer.write(json.dumps(_answer(given)).encode())


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    try:
        pattern = re.compile(given["pattern"], re.IGNORECASE if given["ignore_case"] else re.NOFLAG)
        # Also when it matches nowhere: a replacement that names a group which does not exist is wrong.
        pattern.sub(given["replacement"], "")
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        return {"error": str(error) or "it is nested too deeply"}
    texts = []
    for text in given["texts"]:
        changed = pattern.sub(given["replacement"], text)
        if len(changed) > given["longest"]:
            return {"too_long": len(changed)}
        texts.append(changed)
    return {"texts": texts}


if __name__ == "__main__":
    main()
