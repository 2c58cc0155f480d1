"""How a UNet's activations lie in GPU memory while it trains in half precision.

Tensor cores convolve pictures whose channels lie together. PyTorch's group normalisation for CUDA answers with channels apart, and diffusers asks for that order in
two more places; each time all of a picture is rearranged, forward and backward. And the two halves of a gated layer's one product, value and gate, are each a
strided half of a row, for which elementwise kernels take twice as long, and whose gradients are joined by another pass over both.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel

__all__ = ["LAID_OUT", "gates_apart", "keep_channels_together"]

_HALVES = (torch.bfloat16, torch.float16)


class _GroupNorm(torch.nn.GroupNorm):
    """Group normalisation that leaves channels together, written so that compiled code reads whole rows of channels: statistics of every channel first, in fp32, then of the groups."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        if input.ndim != 4 or not input.is_contiguous(memory_format=torch.channels_last) or self.weight is None:
            return super().forward(input)
        count, channels, height, width = input.shape
        rows = input.permute(0, 2, 3, 1).reshape(count, height * width, channels).float()
        spread, middle = torch.var_mean(rows, dim=1, correction=0)
        groups = (count, self.num_groups, channels // self.num_groups)
        spread, middle = spread.view(groups), middle.view(groups)
        mean = middle.mean(2, keepdim=True)
        variance = (spread + (middle - mean).square()).mean(2, keepdim=True)
        scale = (variance + self.eps).rsqrt() * self.weight.float().view(groups[1:])
        shift = self.bias.float().view(groups[1:]) - mean * scale
        answer = rows * scale.view(count, 1, channels) + shift.view(count, 1, channels)
        return answer.to(input.dtype).view(count, height, width, channels).permute(0, 3, 1, 2)


class _Transformer2D(Transformer2DModel):  # type: ignore[misc]
    """Hands tokens back as a picture with its channels together, which costs nothing."""

    def _get_output_for_continuous_inputs(
        self,
        hidden_states: torch.Tensor,
        residual: torch.Tensor,
        batch_size: int,
        height: int,
        width: int,
        inner_dim: int,
    ) -> torch.Tensor:
        def picture(tokens: torch.Tensor) -> torch.Tensor:
            return tokens.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2)

        if self.use_linear_projection:
            return picture(self.proj_out(hidden_states)) + residual
        return self.proj_out(picture(hidden_states)) + residual  # type: ignore[no-any-return]


class _Resnet(ResnetBlock2D):  # type: ignore[misc]
    """Always as when it does not train: diffusers rearranges the shortcut's input for one way of training on several GPUs, which is not ours."""

    training = property(lambda self: False, lambda self, mode: None)  # noqa: ARG005 - nn.Module assigns it


class _Gated(GEGLU):  # type: ignore[misc]
    """Value and gate from a product each."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        layer = self.proj
        if args or kwargs or type(layer) is not torch.nn.Linear or hidden_states.dtype not in _HALVES:
            usual: torch.Tensor = super().forward(hidden_states, *args, **kwargs)
            return usual
        weights = layer.weight.chunk(2)
        biases = (None, None) if layer.bias is None else layer.bias.chunk(2)
        value, gate = (F.linear(hidden_states, *half) for half in zip(weights, biases, strict=True))
        return value * self.gelu(gate)


_TOGETHER: dict[type, type] = {
    torch.nn.GroupNorm: _GroupNorm,
    Transformer2DModel: _Transformer2D,
    ResnetBlock2D: _Resnet,
}
LAID_OUT = (_GroupNorm.__name__, _Resnet.__name__)
"""Class names of what stands in for others in :func:`keep_channels_together` and should be compiled."""


def keep_channels_together(network: torch.nn.Module) -> None:
    """Have a UNet that will be compiled keep the channels of pictures together throughout; its weights are rearranged in place."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in network.modules():
        module.__class__ = _TOGETHER.get(type(module), type(module))


def gates_apart(network: torch.nn.Module) -> None:
    """Have a UNet's gated layers compute value and gate from a product each in half precision, unless they are adapted."""
    for module in network.modules():
        if type(module) is GEGLU:
            module.__class__ = _Gated
