"""Which tool reads which written form, family by family."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """How a family's LoRA is written for other tools.

    Attributes:
        example: The first part of a key.
        readers: What each tool makes of the file, one line each. ``exact`` means: the same change of every weight. A tool that multiplies
            alpha / rank into the weights gives the last bit only where that is a power of two; it is still called exact.
    """

    example: str
    readers: Mapping[str, str]


_LYCORIS = "LoHa and LoKr too"
_UNET = {
    "ComfyUI": f"exact, {_LYCORIS}; DoRA nearly (it divides by the length of the base's weight, not of the changed one)",
    "A1111": f"exact, {_LYCORIS}; not DoRA (it takes magnitudes to be one for each input)",
    "diffusers": "exact; LoRA only, of DoRA it drops the magnitudes",
}

FORMATS: Mapping[str, Format] = {
    "sd15": Format(
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q, lora_te_text_model_encoder_layers_0_mlp_fc1",
        {"kohya sd-scripts": "exact; LoHa, LoKr and DoRA through LyCORIS", **_UNET},
    ),
    "sd2": Format(
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q, lora_te_text_model_encoder_layers_0_mlp_fc1",
        {"kohya sd-scripts": "exact; LoHa, LoKr and DoRA through LyCORIS", **_UNET},
    ),
    "sdxl": Format(
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q, lora_te1_text_model_encoder_layers_0_mlp_fc1, lora_te2_...",
        {"kohya sd-scripts": "exact; LoHa, LoKr and DoRA through LyCORIS", **_UNET},
    ),
    "sd3": Format(
        "lora_unet_joint_blocks_0_x_block_attn_qkv (query, key and value in one), lora_te1_text_model_encoder_layers_0_mlp_fc1, lora_te2_..., lora_te3_...",
        {
            "kohya sd-scripts": "exact; LoRA only",
            "ComfyUI": f"exact, {_LYCORIS} (LoKr as lycoris_transformer_blocks_0_attn_to_q)",
            "diffusers": "not this form; its own is written beside it",
        },
    ),
    "flux1": Format(
        "lora_unet_double_blocks_0_img_attn_qkv (query, key and value in one), lora_te1_text_model_encoder_layers_0_mlp_fc1, lora_te3_...",
        {
            "kohya sd-scripts": "exact; LoRA only",
            "ComfyUI": f"exact, {_LYCORIS} (LoKr as lycoris_transformer_blocks_0_attn_to_q)",
            "diffusers": "exact; LoRA only, of the text encoders the first",
        },
    ),
    "flux2": Format(
        "lora_unet_double_blocks_0_img_attn_qkv (query, key and value in one), lora_unet_single_blocks_0_linear1",
        {
            "musubi-tuner": "exact; LoRA and LoHa",
            "ComfyUI": f"exact, {_LYCORIS} (LoKr as lycoris_transformer_blocks_0_attn_to_q)",
            "diffusers": "exact; LoRA and LoKr",
        },
    ),
    "qwen-image": Format(
        "lora_unet_transformer_blocks_0_attn_to_q",
        {
            "musubi-tuner": f"exact, {_LYCORIS} (LoKr with its first factor whole)",
            "ComfyUI": f"exact, {_LYCORIS}",
            "diffusers": "exact; LoRA only",
        },
    ),
    "z-image": Format(
        "diffusion_model.layers.0.attention.to_q",
        {
            "musubi-tuner": "exact once its convert_lora.py has renamed it (--target default)",
            "ComfyUI": f"exact, {_LYCORIS}",
            "diffusers": "exact; LoRA and LoKr",
        },
    ),
    "wan": Format(
        "lora_unet_blocks_0_self_attn_q",
        {
            "musubi-tuner": f"exact, {_LYCORIS} (LoKr with its first factor whole)",
            "ComfyUI": f"exact, {_LYCORIS}",
            "diffusers": "exact where attention and feed-forward layers of all blocks were trained; otherwise its own form beside it",
        },
    ),
}
