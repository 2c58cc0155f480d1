"""A FLUX.1 pipeline with random weights."""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel

from tiny.parts import clip_config, clip_tokenizer, t5_encoder, t5_tokenizer, tiny_autoencoder


def tiny_flux1(folder: Path, seed: int = 0, *, schnell: bool = False) -> Path:
    """Save a pipeline of about 80,000 weights, built like dev or schnell, and return its folder."""
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * 4,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=16,
        guidance_embeds=not schnell,
        axes_dims_rope=(2, 2, 4),
    )
    tokenizer = t5_tokenizer()
    FluxPipeline(
        vae=tiny_autoencoder(
            scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=CLIPTextModel(clip_config(16)).eval(),
        text_encoder_2=t5_encoder(tokenizer, 24),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        tokenizer_2=tokenizer,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=1.0 if schnell else 3.0,
            use_dynamic_shifting=not schnell,
            base_shift=0.5,
            max_shift=1.15,
            base_image_seq_len=256,
            max_image_seq_len=4096,
        ),
    ).save_pretrained(folder, safe_serialization=True)
    return folder
