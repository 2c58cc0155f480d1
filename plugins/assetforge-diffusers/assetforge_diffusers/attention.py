"""Attention of UNets without detours, and without asking twice what stays the same.

diffusers looks up the signature of a method at every call of every attention layer, which on a CPU takes as long as a small product, and divides by 1. The numbers
here are the same to the bit.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from assetforge_diffusers.lora_products import lora_products

__all__ = ["attention_layers", "layers_asked_together", "remembering", "straighten"]


class _Straight(Attention):  # type: ignore[misc]
    """Attention in its plainest form; everything else goes the usual way."""

    kept: "tuple[torch.Tensor, torch.Tensor, torch.Tensor] | tuple[()] | None" = None
    """What was asked about last, with its keys and values; ``None`` while nothing is remembered."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **more: Any,
    ) -> torch.Tensor:
        if attention_mask is not None or more or hidden_states.ndim != 3:
            usual: torch.Tensor = super().forward(hidden_states, encoder_hidden_states, attention_mask, **more)
            return usual
        if encoder_hidden_states is None:
            answers = _asked((self.to_q, self.to_k, self.to_v), hidden_states)
            query, key, value = (self._heads(answer) for answer in answers)
            return self._answered(query, key, value, hidden_states)
        query = self._heads(self.to_q(hidden_states))
        if self.kept is None:
            key, value = self._about(encoder_hidden_states)
        elif self.kept and self.kept[0] is encoder_hidden_states:
            _, key, value = self.kept
        else:
            key, value = self._about(encoder_hidden_states)
            self.kept = (encoder_hidden_states, key, value)
        return self._answered(query, key, value, hidden_states)

    def _answered(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden_states: torch.Tensor
    ) -> torch.Tensor:
        answer = F.scaled_dot_product_attention(query, key, value)
        answer = answer.transpose(1, 2).reshape(len(hidden_states), -1, self.inner_dim).to(query.dtype)
        answer = self.to_out[0](answer)
        return self.to_out[1](answer)  # type: ignore[no-any-return]

    def _about(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = _asked((self.to_k, self.to_v), source)
        return self._heads(key), self._heads(value)

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.view(len(states), -1, self.heads, self.inner_dim // self.heads).transpose(1, 2)


def _asked(layers: tuple[Any, ...], source: torch.Tensor) -> list[torch.Tensor]:
    """What layers answer to the same source; at once where they can."""
    answers = lora_products(layers, source)
    return [layer(source) for layer in layers] if answers is None else answers


def _plain(layer: torch.nn.Module) -> bool:
    return (
        type(layer) is Attention
        and type(layer.processor) is AttnProcessor2_0
        and layer.to_k is not None
        and not any((layer.spatial_norm, layer.group_norm, layer.norm_cross, layer.norm_q, layer.norm_k))
        and not layer.residual_connection
        and layer.rescale_output_factor == 1.0
        and layer.inner_kv_dim == layer.inner_dim
    )


def straighten(network: torch.nn.Module) -> None:
    """Have the attention layers of a UNet compute directly; other layers are left alone."""
    for layer in network.modules():
        if _plain(layer):
            layer.__class__ = _Straight


def attention_layers(network: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that :func:`remembering` is about."""
    return [layer for layer in network.modules() if isinstance(layer, _Straight) and layer.is_cross_attention]


def layers_asked_together(network: torch.nn.Module) -> list[tuple[torch.nn.Module, ...]]:
    """Layers of a straightened UNet that are always given the same input."""
    return [
        (layer.to_k, layer.to_v) if layer.is_cross_attention else (layer.to_q, layer.to_k, layer.to_v)
        for layer in network.modules()
        if isinstance(layer, _Straight)
    ]


@contextmanager
def remembering(layers: Iterable[Any]) -> Iterator[None]:
    """Within, keys and values of a caption are computed once and not at every step of sampling; weights must not change meanwhile."""
    chosen = list(layers)
    for layer in chosen:
        layer.kept = ()
    try:
        yield
    finally:
        for layer in chosen:
            layer.kept = None
