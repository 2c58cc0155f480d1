"""Wan pipelines with random weights."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import UMT5Config, UMT5EncoderModel

from tiny.parts import t5_tokenizer


def tiny_wan(folder: Path, seed: int = 0, *, ti2v: bool = False, experts: int = 1, euler: bool = False) -> Path:
    """Save a pipeline of about 45,000 weights and return its folder.

    Args:
        folder: Where.
        seed: Seed of the weights.
        ti2v: Built like Wan 2.2 TI2V 5B, not like Wan 2.1.
        experts: 2 for a second network, as in Wan 2.2 A14B.
        euler: With the scheduler that has a table of noise levels and exact times.
    """
    torch.manual_seed(seed)
    tokenizer = t5_tokenizer()
    networks = [
        WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=16,
            freq_dim=32,
            ffn_dim=32,
            num_layers=2,
            rope_max_seq_len=32,
        )
        for _ in range(experts)
    ]
    scheduler = (
        FlowMatchEulerDiscreteScheduler(shift=5.0)
        if euler
        else UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    )
    WanPipeline(
        tokenizer=tokenizer,
        text_encoder=_encoder(len(tokenizer)),
        vae=AutoencoderKLWan(**_autoencoder_settings(ti2v=ti2v)),
        scheduler=scheduler,
        transformer=networks[0],
        transformer_2=networks[1] if experts > 1 else None,
        boundary_ratio=0.875 if experts > 1 else None,
        expand_timesteps=ti2v,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def _encoder(vocabulary: int) -> UMT5EncoderModel:
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary,
            d_model=16,
            d_ff=32,
            d_kv=8,
            num_heads=2,
            num_layers=2,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
        )
    ).eval()


def _autoencoder_settings(*, ti2v: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "base_dim": 4,
        "z_dim": 4,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
        "latents_mean": [0.1, -0.2, 0.3, 0.0],
        "latents_std": [1.5, 0.5, 2.0, 1.0],
    }
    if not ti2v:
        return settings
    larger = {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16}
    return {**settings, **larger}
