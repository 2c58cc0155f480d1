"""Attention without detours gives the same bits."""

import copy
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from networks_world import ask, tiny_unet

from assetforge.api.job import BaseRef
from assetforge_diffusers.attention import attention_layers, remembering, straighten
from assetforge_diffusers.families import open_family
from diffusers_world import tiny_base


@pytest.fixture
def pair() -> tuple[UNet2DConditionModel, UNet2DConditionModel]:
    plain = tiny_unet(torch.float32)
    straight = copy.deepcopy(plain)
    straighten(straight)
    return plain, straight


def test_the_same_bits_forward_and_backward(pair: tuple) -> None:
    gradients = []
    for unet in pair:
        unet.requires_grad_(requires_grad=True)
        ask(unet).square().mean().backward()
        gradients.append([parameter.grad for parameter in unet.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert torch.equal(ask(pair[0]), ask(pair[1]))


def test_keys_and_values_are_computed_once_for_a_caption(pair: tuple) -> None:
    plain, straight = pair
    layers = attention_layers(straight)
    assert layers
    asked = []
    for layer in layers:
        layer.to_k.register_forward_hook(lambda *_: asked.append(1))
    noisy, caption = torch.randn(1, 4, 16, 16), torch.randn(1, 8, straight.config.cross_attention_dim)
    other = torch.randn_like(caption)
    with torch.no_grad(), remembering(layers):
        for told in (caption, caption, other, caption):
            for time in (900, 100):
                answer = straight(noisy, time, encoder_hidden_states=told).sample
                assert torch.equal(answer, plain(noisy, time, encoder_hidden_states=told).sample)
    assert len(asked) == 3 * len(layers)
    with torch.no_grad():  # nothing is remembered afterwards: the weights may be others
        layers[0].to_k.weight.mul_(2)
        before = len(asked)
        straight(noisy, 100, encoder_hidden_states=caption)
    assert len(asked) == before + len(layers)


def test_what_is_not_plain_is_left_alone() -> None:
    special = Attention(query_dim=8, heads=2, dim_head=4, residual_connection=True)
    holder = torch.nn.ModuleList([special])
    straighten(holder)
    assert type(special) is Attention


def test_bases_are_opened_so(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    ref = BaseRef(name="tiny", family="sd15", digest="0" * 64, path=str(base))
    family = open_family(ref, base, torch.float32)
    assert attention_layers(family.denoiser)
    assert not any(type(layer) is Attention for layer in family.denoiser.modules())
