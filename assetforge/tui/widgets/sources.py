"""Where a virtual list gets its items: a source is asked for the few that are on the screen."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

__all__ = ["ItemSource", "KeyedSource", "ListSource"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ItemSource(Protocol[T_co]):
    """Items in an order, each with a stable key. Everything is called on the UI thread and answers within 5 ms."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def key(self, index: int) -> int:
        """The stable id of the item there."""
        ...

    def index(self, key: int) -> int | None:
        """Where an item is now; ``None`` when it is not there."""
        ...

    def items(self, start: int, count: int) -> Sequence[T_co | None]:
        """At most so many items from there on; ``None`` for one that is gone."""
        ...


class ListSource(Generic[T]):
    """Items that are all in memory."""

    def __init__(self, items: Sequence[T], key: Callable[[T], int]) -> None:
        """Takes the sequence as it is, without a copy.

        Args:
            items: The items.
            key: The stable id of an item.
        """
        self._items = items
        self._key = key

    def __len__(self) -> int:
        """How many there are."""
        return len(self._items)

    def key(self, index: int) -> int:
        """The id of the item there."""
        return self._key(self._items[index])

    def index(self, key: int) -> int | None:
        """Where an item is now."""
        return next((index for index, item in enumerate(self._items) if self._key(item) == key), None)

    def items(self, start: int, count: int) -> Sequence[T]:
        """At most so many items from there on."""
        return self._items[start : start + count]


class KeyedSource(Generic[T]):
    """All ids in order, and pages of items fetched by id when they come into view; the pages used last are kept."""

    def __init__(
        self, keys: Sequence[int], fetch: Callable[[Sequence[int]], Mapping[int, T]], page: int = 100, pages: int = 24
    ) -> None:
        """Fetches nothing yet.

        Args:
            keys: The ids in their order, each once.
            fetch: The items of some ids; one that it leaves out is shown as missing.
            page: Items per page, at least 1.
            pages: Pages kept, at least 1.
        """
        self._keys = keys
        self._fetch = fetch
        self._page = page
        self._most = pages
        self._pages: OrderedDict[int, list[T | None]] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._keys)

    def key(self, index: int) -> int:
        """The id there."""
        return self._keys[index]

    def index(self, key: int) -> int | None:
        """Where an id is now."""
        try:
            return self._keys.index(key)
        except ValueError:
            return None

    def items(self, start: int, count: int) -> Sequence[T | None]:
        """At most so many items from there on; ``None`` for an id that ``fetch`` did not return."""
        end = min(start + count, len(self._keys))
        found: list[T | None] = []
        while start < end:
            number, offset = divmod(start, self._page)
            part = self._of_page(number)[offset : offset + end - start]
            found += part
            start += len(part)
        return found

    def forget(self) -> None:
        """Drop the pages, after a change in the database."""
        self._pages.clear()

    def _of_page(self, number: int) -> list[T | None]:
        page = self._pages.get(number)
        if page is not None:
            self._pages.move_to_end(number)
            return page
        keys = self._keys[number * self._page : (number + 1) * self._page]
        fetched = self._fetch(keys)
        page = self._pages[number] = [fetched.get(key) for key in keys]
        while len(self._pages) > self._most:
            self._pages.popitem(last=False)
        return page
