"""Regular expressions that users write, tried where they can be ended.

Some of them, such as ``(a+)+$``, would look at one caption for years, and Python cannot interrupt that. So they run in a process of their own, which is killed after a few seconds.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assetforge.errors import UsageError

__all__ = ["LONGEST_PATTERN", "SECONDS", "substitute"]

LONGEST_PATTERN = 1_000
"""Most characters of a regular expression."""

SECONDS = 5
"""How long a regular expression may take for all texts together."""

_CHILD = Path(__file__).with_name("pattern_child.py")


def substitute(
    texts: Sequence[str],
    pattern: str,
    replacement: str,
    *,
    ignore_case: bool = False,
    longest: int = 10_000,
    seconds: int = SECONDS,
) -> list[str]:
    r"""Every text with each match replaced, in the same order.

    Args:
        texts: What to look in.
        pattern: A regular expression of Python.
        replacement: ``\1`` and ``\g<name>`` in it stand for groups.
        ignore_case: Capital and small letters are the same.
        longest: Most characters that a text may have afterwards.
        seconds: How long all of it may take, at least 1.

    Raises:
        UsageError: It is no regular expression, takes too long, or makes a text too long.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise UsageError(
            f"The regular expression has {len(pattern)} characters, and {LONGEST_PATTERN} is the most.",
            hint="Change the captions in several steps.",
        )
    if not texts:
        # Still tried, so that a wrong one is said to be wrong.
        return substitute([""], pattern, replacement, ignore_case=ignore_case, longest=longest, seconds=seconds)[:0]
    given = {
        "texts": list(texts),
        "pattern": pattern,
        "replacement": replacement,
        "ignore_case": ignore_case,
        "longest": longest,
        "seconds": seconds,
    }
    answer = _tried(json.dumps(given).encode(), seconds)
    if "texts" in answer:
        return list(answer["texts"])
    if "too_long" in answer:
        raise UsageError(
            f"A caption would become {answer['too_long']:,} characters long, and {longest:,} is the most.",
            hint="Look first with --dry-run at what the expression matches.",
        )
    if "error" in answer:
        raise UsageError(
            f"The regular expression cannot be used: {answer['error']}.",
            hint="Look for plain text or whole words instead, or put a backslash before special characters.",
        )
    raise UsageError(
        f"The regular expression was given up after {seconds} seconds: it may try endlessly many ways to match.",
        hint="Repeat nothing inside a repetition, as in (a+)+, or look for plain text or whole words.",
    )


def _tried(document: bytes, seconds: int) -> dict[str, Any]:
    """What the process answered; empty when it had to be ended, or ended itself."""
    # -I -S: nothing of the user's environment is imported, and it starts at once.
    command = [sys.executable, "-I", "-S", "-W", "ignore", str(_CHILD)]
    try:
        done = subprocess.run(
            command,
            input=document,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    if done.returncode != 0:
        return {}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
