"""Stands in a gallery until the code that draws pictures is loaded, so that tiles keep their places."""

from collections.abc import Callable, Collection, Sequence

from textual.strip import Strip

__all__ = ["PicturesToCome"]


class PicturesToCome:
    """No picture is there yet, and none is asked for in vain: whoever takes this one's place is asked anew."""

    def strips(self, sha256: str, width: int, height: int) -> Sequence[Strip] | None:  # noqa: ARG002
        """None yet."""
        return None

    def want(self, sha256: str, width: int, height: int, ready: Callable[[], None]) -> None:
        """Nothing comes of it here."""

    def skip(self, wanted: Collection[tuple[str, int, int]]) -> None:
        """Nothing is queued."""
