"""Names of transformer models' layers in their first publication, by diffusers' names.

Sources: the state dicts of Black Forest Labs' FLUX.1, as the tools that train on them load them.
"""

import re
from collections.abc import Mapping

from assetforge_diffusers.keys.place import Place

__all__ = ["published_place"]

_Names = Mapping[str, Place]


def _together(name: str, *paths: str, shares: tuple[int, ...] = (1, 1, 1)) -> dict[str, Place]:
    return {path: Place(name, slot, shares) for slot, path in enumerate(paths)}


_FLUX_ATTENTION: _Names = {
    **_together("img_attn_qkv", "attn.to_q", "attn.to_k", "attn.to_v"),
    **_together("txt_attn_qkv", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "attn.to_out.0": Place("img_attn_proj"),
    "attn.to_add_out": Place("txt_attn_proj"),
}
_FLUX1_DOUBLE: _Names = {
    **_FLUX_ATTENTION,
    "ff.net.0.proj": Place("img_mlp_0"),
    "ff.net.2": Place("img_mlp_2"),
    "ff_context.net.0.proj": Place("txt_mlp_0"),
    "ff_context.net.2": Place("txt_mlp_2"),
    "norm1.linear": Place("img_mod_lin"),
    "norm1_context.linear": Place("txt_mod_lin"),
}
_FLUX1_SINGLE: _Names = {
    **_together("linear1", "attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", shares=(1, 1, 1, 4)),
    "proj_out": Place("linear2"),
    "norm.linear": Place("modulation_lin"),
}

_BLOCKS: Mapping[str, Mapping[str, tuple[str, _Names]]] = {
    "flux1": {
        "transformer_blocks": ("double_blocks", _FLUX1_DOUBLE),
        "single_transformer_blocks": ("single_blocks", _FLUX1_SINGLE),
    },
}
"""By family and diffusers' list of blocks: the publication's list of blocks, and its names of a block's layers (dots as underscores)."""


def published_place(family: str, path: str) -> Place | None:
    """The publication's name for diffusers' ``path``, free of prefixes and dots; None where it has none."""
    match = re.fullmatch(r"(\w+)\.(\d+)\.(.+)", path)
    if match is None:
        return None
    blocks, number, rest = match.groups()
    name, names = _BLOCKS[family].get(blocks, ("", {}))
    found = names.get(rest)
    return Place(f"{name}_{number}_{found.name}", found.slot, found.shares) if found else None
