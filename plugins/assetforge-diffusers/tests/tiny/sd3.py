"""A Stable Diffusion 3.5 pipeline with random weights."""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModelWithProjection

from tiny.parts import TINY_SIDE, clip_config, clip_tokenizer, t5_encoder, t5_tokenizer, tiny_autoencoder


def tiny_sd3(folder: Path, seed: int = 0, *, t5: bool = True) -> Path:
    """Save a pipeline of about 100,000 weights, built like 3.5 medium, and return its folder; without ``t5`` it has two encoders."""
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=TINY_SIDE // 2,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=48,
        caption_projection_dim=32,
        pooled_projection_dim=16 + 24,
        pos_embed_max_size=16,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    tokenizer = t5_tokenizer()
    StableDiffusion3Pipeline(
        vae=tiny_autoencoder(
            scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=CLIPTextModelWithProjection(clip_config(16)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(24, hidden_act="gelu")).eval(),
        text_encoder_3=t5_encoder(tokenizer, 48) if t5 else None,
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        tokenizer_2=clip_tokenizer(folder / "tokenizer_2", pad="!"),
        tokenizer_3=tokenizer if t5 else None,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder, safe_serialization=True)
    return folder
