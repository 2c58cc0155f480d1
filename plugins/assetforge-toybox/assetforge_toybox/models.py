"""The shapes of the toybox's networks, all in the Stable Diffusion 1.x architecture at doll's-house size."""

from __future__ import annotations

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 8
LATENT_SIZE = 16
TEXT_WIDTH = 128
TEXT_LENGTH = 48
"""Tokens of a caption, start and end included."""


def new_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder: 64 x 64 x 3 to 16 x 16 x 8 and back, 1.6 million parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        sample_size=64,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        norm_num_groups=16,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )


def new_unet() -> UNet2DConditionModel:
    """Return an untrained conditional UNet, 5.6 million parameters."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )


def new_text_encoder(vocabulary: int, end_token: int) -> CLIPTextModel:
    """Return an untrained two-layer CLIP text encoder for a vocabulary of that many tokens."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            projection_dim=TEXT_WIDTH,
            bos_token_id=end_token - 1,
            eos_token_id=end_token,
            pad_token_id=end_token,
        )
    )


def new_scheduler() -> DDIMScheduler:
    """Return the noise schedule that the base is trained and sampled with (velocity prediction).

    At 16 x 16 latents the usual last step still shows where things stand and how bright the picture is, so a model
    learns to look there instead of reading the caption (Lin et al. 2023, arXiv:2305.08891). This one ends in noise.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=0,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
