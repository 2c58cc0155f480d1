"""What a diffusers folder says about itself in its settings."""

import pytest

from assetforge.domain.model_family import component_names, family_of_pipeline, native_resolution, network_names

VAE = {"block_out_channels": [128, 256, 512, 512]}


@pytest.mark.parametrize(
    ("pipeline", "denoiser", "family"),
    [
        ("StableDiffusionPipeline", {"cross_attention_dim": 768}, "sd15"),
        ("StableDiffusionPipeline", {"cross_attention_dim": 32}, "sd15"),
        ("StableDiffusionPipeline", {}, "sd15"),
        ("StableDiffusionPipeline", {"cross_attention_dim": 1024}, "sd2"),
        ("StableDiffusionPipeline", {"cross_attention_dim": [1024, 1024]}, "sd2"),
        ("StableDiffusionXLPipeline", {"cross_attention_dim": 2048}, "sdxl"),
        ("StableDiffusion3Pipeline", {}, "sd3"),
        ("FluxPipeline", {}, "flux1"),
        ("Flux2Pipeline", {}, "flux2"),
        ("Flux2KleinPipeline", {}, "flux2"),
        ("QwenImagePipeline", {}, "qwen-image"),
        ("ZImagePipeline", {}, "z-image"),
        ("WanPipeline", {}, "wan"),
        ("StableDiffusionInpaintPipeline", {"cross_attention_dim": 768}, ""),
        ("WanImageToVideoPipeline", {}, ""),
    ],
)
def test_families_of_pipelines(pipeline, denoiser, family):
    assert family_of_pipeline(pipeline, denoiser) == family


@pytest.mark.parametrize(
    ("family", "denoiser", "vae", "scheduler", "pixels"),
    [
        ("sd15", {"sample_size": 64}, VAE, {}, 512),
        ("sd15", {"sample_size": 16}, {"block_out_channels": [32, 64, 96]}, {}, 64),
        ("sd15", {}, VAE, {}, 512),
        ("sd2", {"sample_size": 96}, VAE, {}, 768),
        ("sd2", {}, VAE, {"prediction_type": "v_prediction"}, 768),
        ("sd2", {}, VAE, {"prediction_type": "epsilon"}, 512),
        ("sdxl", {"sample_size": 128}, VAE, {}, 1024),
        ("sdxl", {}, VAE, {}, 1024),
        ("sd3", {"sample_size": 128}, VAE, {}, 1024),
        ("flux1", {}, VAE, {}, 1024),
        ("qwen-image", {}, {"dim_mult": [1, 2, 4, 4]}, {}, 1024),
        ("z-image", {}, VAE, {}, 1024),
        ("wan", {"sample_size": [60, 104]}, {}, {}, 480),
    ],
)
def test_native_resolutions(family, denoiser, vae, scheduler, pixels):
    assert native_resolution(family, denoiser=denoiser, vae=vae, scheduler=scheduler) == pixels


def test_components_that_a_pipeline_needs():
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": True,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "processor": ["transformers", "PixtralProcessor"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "image_encoder": [None, None],
    }
    assert component_names(index) == ("unet", "text_encoder_2", "tokenizer", "scheduler", "processor")
    assert network_names(index) == ("unet", "text_encoder_2")
