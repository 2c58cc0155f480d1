"""Names of a Stable Diffusion XL UNet's layers in the model's first publication, which kohya's scripts train and read.

Diffusers counts blocks and, within a block, layers; the publication counts through. The UNet of this family has two layers in each block on
the way down and three on the way up, so a number follows from the other by arithmetic.
"""

import re

__all__ = ["sgm_path"]

_DOWN, _UP = 2, 3
_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_EMBEDDINGS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def sgm_path(path: str) -> str | None:
    """The publication's path for diffusers' ``path``, or None where it has none in a UNet of this family."""
    if path in _EMBEDDINGS:
        return _EMBEDDINGS[path]
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", path):
        kind, index, rest = match.groups()
        return _inner(f"middle_block.{int(index) * 2 if kind == 'resnets' else 1}", kind, rest)
    if match := re.fullmatch(r"down_blocks\.(\d)\.downsamplers\.0\.conv", path):
        return f"input_blocks.{(_DOWN + 1) * (int(match[1]) + 1)}.0.op"
    if match := re.fullmatch(r"up_blocks\.(\d)\.upsamplers\.0\.conv", path):
        return f"output_blocks.{_UP * int(match[1]) + _UP - 1}.2.conv"
    if match := re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.+)", path):
        way, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        if index >= (_DOWN if way == "down" else _UP):
            return None
        place = (
            f"input_blocks.{1 + (_DOWN + 1) * block + index}"
            if way == "down"
            else f"output_blocks.{_UP * block + index}"
        )
        return _inner(f"{place}.{'0' if kind == 'resnets' else '1'}", kind, rest)
    return None


def _inner(place: str, kind: str, rest: str) -> str | None:
    if kind == "attentions":
        return f"{place}.{rest}"
    return f"{place}.{_RESNET[rest]}" if rest in _RESNET else None
