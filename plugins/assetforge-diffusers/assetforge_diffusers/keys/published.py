"""Names of transformer models' layers in their first publication, by diffusers' names.

Sources: the state dicts of Black Forest Labs' FLUX.1 and FLUX.2, Stability AI's Stable Diffusion 3.5, Tongyi's Z-Image and Alibaba's Wan, as
the tools that train on them load them. Qwen-Image was published under diffusers' own names.
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
_FLUX2_DOUBLE: _Names = {
    **_FLUX_ATTENTION,
    "ff.linear_in": Place("img_mlp_0"),
    "ff.linear_out": Place("img_mlp_2"),
    "ff_context.linear_in": Place("txt_mlp_0"),
    "ff_context.linear_out": Place("txt_mlp_2"),
}
_FLUX2_SINGLE: _Names = {"attn.to_qkv_mlp_proj": Place("linear1"), "attn.to_out": Place("linear2")}
_SD3_JOINT: _Names = {
    **_together("x_block_attn_qkv", "attn.to_q", "attn.to_k", "attn.to_v"),
    **_together("x_block_attn2_qkv", "attn2.to_q", "attn2.to_k", "attn2.to_v"),
    **_together("context_block_attn_qkv", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "attn.to_out.0": Place("x_block_attn_proj"),
    "attn2.to_out.0": Place("x_block_attn2_proj"),
    "attn.to_add_out": Place("context_block_attn_proj"),
    "ff.net.0.proj": Place("x_block_mlp_fc1"),
    "ff.net.2": Place("x_block_mlp_fc2"),
    "ff_context.net.0.proj": Place("context_block_mlp_fc1"),
    "ff_context.net.2": Place("context_block_mlp_fc2"),
}
_Z_IMAGE: _Names = {
    **_together("attention_qkv", "attention.to_q", "attention.to_k", "attention.to_v"),
    "attention.to_out.0": Place("attention_out"),
    **{f"feed_forward.w{n}": Place(f"feed_forward_w{n}") for n in (1, 2, 3)},
}
_WAN: _Names = {
    **{f"attn1.to_{letter}": Place(f"self_attn_{letter}") for letter in "qkv"},
    **{f"attn2.to_{letter}": Place(f"cross_attn_{letter}") for letter in "qkv"},
    "attn1.to_out.0": Place("self_attn_o"),
    "attn2.to_out.0": Place("cross_attn_o"),
    "attn2.add_k_proj": Place("cross_attn_k_img"),
    "attn2.add_v_proj": Place("cross_attn_v_img"),
    "ffn.net.0.proj": Place("ffn_0"),
    "ffn.net.2": Place("ffn_2"),
}

_BLOCKS: Mapping[str, Mapping[str, tuple[str, _Names]]] = {
    "flux1": {
        "transformer_blocks": ("double_blocks", _FLUX1_DOUBLE),
        "single_transformer_blocks": ("single_blocks", _FLUX1_SINGLE),
    },
    "flux2": {
        "transformer_blocks": ("double_blocks", _FLUX2_DOUBLE),
        "single_transformer_blocks": ("single_blocks", _FLUX2_SINGLE),
    },
    "sd3": {"transformer_blocks": ("joint_blocks", _SD3_JOINT)},
    "z-image": {blocks: (blocks, _Z_IMAGE) for blocks in ("layers", "noise_refiner", "context_refiner")},
    "wan": {"blocks": ("blocks", _WAN)},
}
"""By family and diffusers' list of blocks: the publication's list of blocks, and its names of a block's layers (dots as underscores)."""


def published_place(family: str, path: str) -> Place | None:
    """The publication's name for diffusers' ``path``, free of prefixes and dots; None where it has none."""
    match = re.fullmatch(r"(\w+)\.(\d+)\.(.+)", path)
    if match is None or family not in _BLOCKS:
        return None
    blocks, number, rest = match.groups()
    name, names = _BLOCKS[family].get(blocks, ("", {}))
    found = names.get(rest)
    return Place(f"{name}_{number}_{found.name}", found.slot, found.shares) if found else None
