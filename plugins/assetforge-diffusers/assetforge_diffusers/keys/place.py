"""Where a layer stands in a file."""

from dataclasses import dataclass

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """Where a layer stands in a file.

    Attributes:
        name: The name in the file, before the name of the tensor.
        slot: Which of the layers under that name, from the top.
        shares: Output rows of the layers under that name, in proportion, from the top.
    """

    name: str
    slot: int = 0
    shares: tuple[int, ...] = (1,)
