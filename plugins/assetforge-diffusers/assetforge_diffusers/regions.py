"""Compiles the blocks that a network repeats, which takes a fraction of the time of compiling the whole network and leaves most of the gain."""

from collections.abc import Collection, Iterator

import torch

__all__ = ["compile_regions"]

_BACKEND = "inductor"
_PASSES = 3
"""With gradients; without, when activations are computed twice; and what is validated, without and in batches of another size."""


def compile_regions(network: torch.nn.Module, kinds: Collection[str], sizes: int) -> int:
    """Have blocks compiled when they are first called, anew for every size of picture.

    Blocks within blocks are compiled with them. Sizes are compiled as they are: code for any size would be slower, and every bucket comes again and again.

    Args:
        network: Adapted, where it trains.
        kinds: Class names of the blocks.
        sizes: How many sizes of pictures there are.

    Returns:
        How many blocks there are.
    """
    blocks = list(_outermost(network, kinds))
    wanted = len(blocks) * _PASSES * max(1, sizes)  # if no two blocks of a class were alike
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, wanted)  # noqa: SLF001 - the public name of torch.compile's settings
    torch._dynamo.config.accumulated_recompile_limit = max(  # noqa: SLF001
        torch._dynamo.config.accumulated_recompile_limit,  # noqa: SLF001
        wanted,
    )
    for block in blocks:
        block.compile(backend=_BACKEND, dynamic=False)
    return len(blocks)


def _outermost(module: torch.nn.Module, kinds: Collection[str]) -> Iterator[torch.nn.Module]:
    for child in module.children():
        if type(child).__name__ in kinds:
            yield child
        else:
            yield from _outermost(child, kinds)
