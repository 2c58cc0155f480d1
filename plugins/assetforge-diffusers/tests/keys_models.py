"""The real models whose LoRA keys are checked, built without their weights from their published configurations."""

from collections.abc import Mapping
from typing import Any

import diffusers
import torch
import transformers

__all__ = ["FAMILY", "MODELS", "layer_shapes"]

_CLIP_L = (
    "CLIPTextModel",
    {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
)
_CLIP_L_PROJ = ("CLIPTextModelWithProjection", {**_CLIP_L[1], "projection_dim": 768})
_CLIP_H = (
    "CLIPTextModel",
    {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16},
)
_CLIP_G = (
    "CLIPTextModelWithProjection",
    {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
    },
)
_T5_XXL = (
    "T5EncoderModel",
    {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "feed_forward_proj": "gated-gelu"},
)
_UNET = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
_SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_SD35 = {"qk_norm": "rms_norm", "joint_attention_dim": 4096, "pooled_projection_dim": 2048}

MODELS: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "sd15": {"unet": ("UNet2DConditionModel", _UNET), "text_encoder": _CLIP_L},
    "sd21": {
        "unet": (
            "UNet2DConditionModel",
            {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        ),
        "text_encoder": _CLIP_H,
    },
    "sdxl": {"unet": ("UNet2DConditionModel", _SDXL_UNET), "text_encoder": _CLIP_L, "text_encoder_2": _CLIP_G},
    "sd35-medium": {
        "transformer": (
            "SD3Transformer2DModel",
            {
                **_SD35,
                "num_layers": 24,
                "num_attention_heads": 24,
                "caption_projection_dim": 1536,
                "pos_embed_max_size": 384,
                "dual_attention_layers": tuple(range(13)),
            },
        ),
        "text_encoder": _CLIP_L_PROJ,
        "text_encoder_2": _CLIP_G,
        "text_encoder_3": _T5_XXL,
    },
    "sd35-large": {
        "transformer": (
            "SD3Transformer2DModel",
            {
                **_SD35,
                "num_layers": 38,
                "num_attention_heads": 38,
                "caption_projection_dim": 2432,
                "pos_embed_max_size": 192,
            },
        ),
    },
    "flux1-dev": {
        "transformer": ("FluxTransformer2DModel", {"guidance_embeds": True}),
        "text_encoder": _CLIP_L,
        "text_encoder_2": _T5_XXL,
    },
    "flux2-dev": {"transformer": ("Flux2Transformer2DModel", {})},
    "flux2-klein-4b": {
        "transformer": (
            "Flux2Transformer2DModel",
            {
                "num_layers": 5,
                "num_single_layers": 20,
                "num_attention_heads": 24,
                "joint_attention_dim": 7680,
                "guidance_embeds": False,
            },
        ),
    },
    "flux2-klein-9b": {
        "transformer": (
            "Flux2Transformer2DModel",
            {
                "num_layers": 8,
                "num_single_layers": 24,
                "num_attention_heads": 32,
                "joint_attention_dim": 12288,
                "guidance_embeds": False,
            },
        ),
    },
    "qwen-image": {"transformer": ("QwenImageTransformer2DModel", {})},
    "z-image": {"transformer": ("ZImageTransformer2DModel", {})},
    "wan21-t2v-1.3b": {
        "transformer": ("WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}),
    },
    "wan21-i2v-14b": {
        "transformer": ("WanTransformer3DModel", {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120}),
    },
    "wan22-ti2v-5b": {
        "transformer": (
            "WanTransformer3DModel",
            {"num_attention_heads": 24, "ffn_dim": 14336, "num_layers": 30, "in_channels": 48, "out_channels": 48},
        ),
    },
}
"""Class and settings of each component by model; settings that are not named have the class's defaults."""

FAMILY = {
    "sd15": "sd15",
    "sd21": "sd2",
    "sdxl": "sdxl",
    "sd35-medium": "sd3",
    "sd35-large": "sd3",
    "flux1-dev": "flux1",
    "flux2-dev": "flux2",
    "flux2-klein-4b": "flux2",
    "flux2-klein-9b": "flux2",
    "qwen-image": "qwen-image",
    "z-image": "z-image",
    "wan21-t2v-1.3b": "wan",
    "wan21-i2v-14b": "wan",
    "wan22-ti2v-5b": "wan",
}


def layer_shapes(model: str) -> dict[str, dict[str, list[int]]]:
    """The weight shapes of all linear and convolution layers by component and module path."""
    shapes: dict[str, dict[str, list[int]]] = {}
    for component, (kind, settings) in MODELS[model].items():
        with torch.device("meta"):
            if hasattr(transformers, kind):
                cls = getattr(transformers, kind)
                module = cls(cls.config_class(**settings))
            else:
                module = getattr(diffusers, kind)(**settings)
        shapes[component] = {
            path: list(layer.weight.shape)
            for path, layer in module.named_modules()
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d)
        }
    return shapes
