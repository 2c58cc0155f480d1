"""A Stable Diffusion XL pipeline with random weights."""

from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tiny.parts import TINY_SIDE, clip_config, clip_tokenizer, tiny_autoencoder


def tiny_sdxl(folder: Path, seed: int = 0, prediction: str = "epsilon", *, zero_snr: bool = False) -> Path:
    """Save a pipeline of about 150,000 weights and return its folder."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=TINY_SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=2,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 24,
        cross_attention_dim=16 + 24,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        interpolation_type="linear",
        timestep_spacing="leading",
        steps_offset=1,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
    )
    StableDiffusionXLPipeline(
        vae=tiny_autoencoder(scaling_factor=0.13025, force_upcast=True),
        text_encoder=CLIPTextModel(clip_config(16)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(24, hidden_act="gelu")).eval(),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        tokenizer_2=clip_tokenizer(folder / "tokenizer_2", pad="!"),
        unet=unet,
        scheduler=scheduler,
    ).save_pretrained(folder, safe_serialization=True)
    return folder
