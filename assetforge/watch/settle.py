"""Which files have stopped changing. Pure: the caller says what it saw and when."""

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Settling"]

What = TypeVar("What")


class _Seen(NamedTuple, Generic[What]):
    what: What
    since: float


class Settling(Generic[What]):
    """Things that have to stay the same for a while before they count.

    Args:
        wait_s: For how long, in seconds.
    """

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        self._seen: dict[str, _Seen[What]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, key: str) -> bool:
        return key in self._seen

    def saw(self, key: str, what: What, now: float, *, unchanged_s: float = 0.0) -> None:
        """Something looks like this now; the wait begins anew when it looked otherwise before.

        Args:
            key: Its name.
            what: How it looks.
            now: The time, in seconds of any steady clock.
            unchanged_s: For how long it is known to have looked like this already.
        """
        before = self._seen.get(key)
        if before is None or before.what != what:
            self._seen[key] = _Seen(what, now - max(0.0, unchanged_s))

    def drop(self, key: str) -> None:
        """It does not count any more."""
        self._seen.pop(key, None)

    def drop_if(self, key: str, what: What) -> None:
        """It does not count any more, unless it has come to look otherwise meanwhile."""
        seen = self._seen.get(key)
        if seen is not None and seen.what == what:
            del self._seen[key]

    def drop_all(self, keys: Iterable[str]) -> None:
        """None of them counts any more."""
        for key in keys:
            self._seen.pop(key, None)

    def due(self, now: float) -> dict[str, What]:
        """What has stayed the same for long enough; it stays here until it is dropped."""
        return {key: seen.what for key, seen in self._seen.items() if now - seen.since >= self.wait_s}

    def oldest(self, now: float) -> float:
        """For how long the oldest has been waiting, in seconds; 0 when nothing waits."""
        return max((now - seen.since for seen in self._seen.values()), default=0.0)

    def next_due(self) -> float | None:
        """When the first of them will have waited long enough, by the same clock; ``None`` when nothing waits."""
        first = min((seen.since for seen in self._seen.values()), default=None)
        return None if first is None else first + self.wait_s
