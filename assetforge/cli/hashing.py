"""Progress of hashing base models, which may be many gigabytes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from assetforge.cli.output import progress

if TYPE_CHECKING:
    from assetforge.cli.output import Update
    from assetforge.store.model_digest import HashProgress

__all__ = ["hashing"]

_MB = 1_000_000


@contextmanager
def hashing(label: str) -> "Iterator[HashProgress]":
    """Show on stderr how far hashing is; nothing appears when nothing has to be hashed.

    Yields:
        What takes the bytes done and the bytes in all.
    """
    with ExitStack() as stack:
        shown: list[Update] = []

        def update(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(progress(f"hashing {label}")))
            shown[0](done // _MB, total // _MB, "MB")

        yield update
