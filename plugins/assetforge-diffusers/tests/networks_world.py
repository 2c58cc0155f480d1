"""A tiny UNet with every kind of layer that is adapted, and one fixed question to it."""

import torch
from diffusers import UNet2DConditionModel

from assetforge_diffusers.families.sd15 import StableDiffusion15

NETWORKS = ("lora", "dora", "loha", "lokr")
LAYERS = StableDiffusion15.layers


def tiny_unet(dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16,),
        layers_per_block=1,
        cross_attention_dim=16,
        norm_num_groups=2,
        attention_head_dim=2,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    return unet.to(dtype).requires_grad_(False).eval()


def ask(unet: UNet2DConditionModel) -> torch.Tensor:
    source = torch.Generator().manual_seed(1)
    noisy = torch.randn((2, 4, 16, 16), generator=source).to(unet.dtype)
    told = torch.randn((2, 7, 16), generator=source).to(unet.dtype)
    return unet(noisy, torch.tensor([3, 700]), encoder_hidden_states=told).sample
