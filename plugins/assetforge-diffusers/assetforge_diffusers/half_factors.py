"""A LoRA's factors in half precision, made once a step for all layers together; trained are the ones in fp32.

Each layer would otherwise round its own two factors and widen their two gradients: thousands of kernels that do next to nothing, in which a step with one picture
spends a sixth of its time on a fast GPU. Layers that read the same input share one tensor for what they read it with.
"""

from collections.abc import Iterable
from typing import Any, Self

import torch

from assetforge_diffusers.attention import layers_asked_together
from assetforge_diffusers.lora_products import HalfCopies, LoraProduct

__all__ = ["HalfFactors"]


class HalfFactors:
    """Within this context layers compute with fresh copies in half precision; at its end, gradients of the copies are added to those of the parameters.

    Layers that cannot use the copies are not disturbed, and learn as they would without.

    Args:
        networks: Adapted, on their device.
        dtype: The half precision.
    """

    def __init__(self, networks: Iterable[torch.nn.Module], dtype: torch.dtype) -> None:
        self._worn: list[tuple[LoraProduct, HalfCopies]] = []
        self._copies: list[torch.Tensor] = []
        self._parameters: list[torch.nn.Parameter] = []
        self._places: list[tuple[torch.Tensor, int, int]] = []
        self._strengths: list[float] = []
        for network in networks:
            together = layers_asked_together(network)
            grouped = {id(layer) for group in together for layer in group}
            alone = [(layer,) for layer in network.modules() if id(layer) not in grouped]
            for group in (*together, *alone):
                self._add(group, dtype)

    def _add(self, group: tuple[Any, ...], dtype: torch.dtype) -> None:
        trained = [layer.parameters_of_factors() if isinstance(layer, LoraProduct) else None for layer in group]
        if None in trained:
            for layer in group if len(group) > 1 else ():
                self._add((layer,), dtype)
            return
        known = [factors for factors in trained if factors is not None]
        device, width = known[0].inner.device, known[0].inner.shape[1]
        rows = sum(len(factors.inner) for factors in known)
        inner = torch.empty((rows, width), dtype=dtype, device=device, requires_grad=True)
        first = 0
        for layer, factors in zip(group, known, strict=True):
            outer = torch.empty(factors.outer.shape, dtype=dtype, device=device, requires_grad=True)
            rank = len(factors.inner)
            self._note(factors.inner, inner, first, rank, 1.0)
            self._note(factors.outer, outer, 0, len(factors.outer), factors.strength)
            self._worn.append((layer, HalfCopies(inner, outer)))
            first += rank

    def _note(self, parameter: torch.nn.Parameter, copy: torch.Tensor, first: int, rows: int, strength: float) -> None:
        self._parameters.append(parameter)
        self._places.append((copy, first, rows))
        self._copies.append(copy.detach().narrow(0, first, rows))
        self._strengths.append(strength)

    @torch.no_grad()
    def __enter__(self) -> Self:
        """Round all factors and hand them to their layers."""
        if self._copies:
            torch._foreach_copy_(self._copies, self._parameters)
            _strengthen(self._copies, self._strengths)
        for layer, copies in self._worn:
            layer.copies = copies
        return self

    @torch.no_grad()
    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Add the gradients, unless something failed."""
        for layer, _ in self._worn:
            layer.copies = None
        if kind is None:
            self._add_gradients()
        for copy, _, _ in self._places:
            copy.grad = None

    def _add_gradients(self) -> None:
        learnt = [
            (parameter, copy.grad.narrow(0, first, rows), strength)
            for parameter, (copy, first, rows), strength in zip(
                self._parameters, self._places, self._strengths, strict=True
            )
            if copy.grad is not None
        ]
        if not learnt:
            return
        wide = [torch.empty_like(parameter) for parameter, _, _ in learnt]
        torch._foreach_copy_(wide, [gradient for _, gradient, _ in learnt])
        _strengthen(wide, [strength for _, _, strength in learnt])
        present = [(parameter.grad, new) for (parameter, _, _), new in zip(learnt, wide, strict=True)]
        kept = [(old, new) for old, new in present if old is not None]
        if kept:
            torch._foreach_add_([old for old, _ in kept], [new for _, new in kept])
        for (parameter, _, _), new in zip(learnt, wide, strict=True):
            if parameter.grad is None:
                parameter.grad = new


def _strengthen(tensors: list[torch.Tensor], strengths: list[float]) -> None:
    """Multiply tensors where that changes anything."""
    for strength in {strength for strength in strengths if strength != 1.0}:
        chosen = [tensor for tensor, own in zip(tensors, strengths, strict=True) if own == strength]
        torch._foreach_mul_(chosen, strength)
