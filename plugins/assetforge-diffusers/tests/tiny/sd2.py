"""A Stable Diffusion 2.x pipeline with random weights."""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from tiny.parts import TINY_SIDE, clip_config, clip_tokenizer, tiny_autoencoder


def tiny_sd2(folder: Path, seed: int = 0, prediction: str = "v_prediction", *, zero_snr: bool = False) -> Path:
    """Save a pipeline of about 70,000 weights and return its folder."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=TINY_SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        cross_attention_dim=16,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "leading",
    )
    StableDiffusionPipeline(
        vae=tiny_autoencoder(scaling_factor=0.18215),
        text_encoder=CLIPTextModel(clip_config(16, hidden_act="gelu")).eval(),
        tokenizer=clip_tokenizer(folder / "tokenizer", pad="!"),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder
