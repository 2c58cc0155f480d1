"""Puts LoRAs on a loaded base and takes them off again without a trace.

Worn LoRAs are merged into the weights where numbers are fp32, as A1111 and ComfyUI do it: sampling then costs what the bare base costs. The base's own
weights are kept aside and copied back, never computed back, so nothing is left behind. In fewer bits they are computed beside the weights, which
stay as they are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from assetforge.api.job import LoraRef
from assetforge.errors import UsageError
from assetforge_diffusers.changes import Worn, beside, change_weight
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.keys import Layer
from assetforge_diffusers.lorafiles import adaptable_paths, read_layers

__all__ = ["Stack", "Wardrobe"]

_KEPT_FILES = 4
Stack = tuple[tuple[str, float], ...]
"""Hash and strength of each LoRA, in order."""
_Place = tuple[str, str]


class Wardrobe:
    """What an opened base wears.

    Attributes:
        worn: What is worn now.
    """

    def __init__(self, family: Family, folder: Path, *, merge: bool) -> None:
        """Dress ``family`` in files below ``folder``; ``merge`` them into the weights or compute them beside."""
        self.worn: Stack = ()
        self._pipeline: Any = family.pipeline
        self._family_name = family.name
        self._denoiser = family.denoiser_name
        modules: dict[str, Any] = {family.denoiser_name: family.denoiser, **family.text_encoders}
        self._known = adaptable_paths(modules)
        self._module = {
            (component, path): modules[component].get_submodule(path)
            for component, paths in self._known.items()
            for path in paths
        }
        self._folder = folder
        self._merge = merge
        self._files: dict[str, list[Layer]] = {}
        self._originals: dict[_Place, torch.Tensor] = {}
        self._changed: set[_Place] = set()
        self._hooks: list[Any] = []

    @property
    def worn_by_text(self) -> Stack:
        """The part of ``worn`` that changes text encoders."""
        return tuple(
            (digest, strength)
            for digest, strength in self.worn
            if any(layer.component != self._denoiser for layer in self._files[digest])
        )

    def wear(self, loras: Sequence[tuple[LoraRef, float]]) -> None:
        """Wear exactly these; one at strength 0 is not worn at all.

        Raises:
            UsageError: A file is a pickle, damaged, not a LoRA for this base, or worn twice.
            NotFoundError: A file is missing.
        """
        wanted = [(lora, strength) for lora, strength in loras if strength != 0]
        stack = tuple((lora.sha256, strength) for lora, strength in wanted)
        if stack == self.worn:
            return
        if len({digest for digest, _ in stack}) < len(stack):
            raise UsageError("One LoRA is worn twice.", hint="Add up its strengths instead.")
        changes: dict[_Place, list[Worn]] = {}
        for lora, strength in wanted:
            for layer in self._layers(lora):
                changes.setdefault((layer.component, layer.path), []).append((layer, strength))
        self.worn = ()
        try:
            self._put_on(changes)
        except ValueError as error:
            self._put_on({})
            names = ", ".join(lora.name for lora, _ in wanted)
            raise UsageError(
                f"{names} does not fit this {self._family_name} base: {error}.", hint=_OTHER_BASE
            ) from error
        self.worn = stack
        self._forget({digest for digest, _ in stack})

    def _layers(self, lora: LoraRef) -> list[Layer]:
        if lora.sha256 in self._files:
            self._files[lora.sha256] = self._files.pop(lora.sha256)  # the last one worn is the last one forgotten
            return self._files[lora.sha256]
        file = self._folder / lora.file
        if file.suffix.lower() != ".safetensors":
            raise UsageError(
                f"{lora.name} is stored in {file.name}; only safetensors are opened.",
                hint="Convert it with the tool that made it.",
            )
        try:
            layers = read_layers(file, self._family_name, self._known, self._pipeline)
        except UsageError as error:
            raise UsageError(
                f"{lora.name} ({file.name}) is not a LoRA for this {self._family_name} base: {error.message}",
                hint=_OTHER_BASE,
            ) from error
        if not layers:
            raise UsageError(
                f"{lora.name} ({file.name}) holds no layer of this {self._family_name} base.", hint=_OTHER_BASE
            )
        self._files[lora.sha256] = layers
        return layers

    @torch.no_grad()
    def _put_on(self, changes: Mapping[_Place, Sequence[Worn]]) -> None:
        if not self._merge:
            for hook in self._hooks:
                hook.remove()
            self._hooks.clear()
            for place, worn in changes.items():
                module = self._module[place]
                self._hooks.append(module.register_forward_hook(beside(module, worn)))
            return
        for place in self._changed - changes.keys():
            self._module[place].weight.copy_(self._originals[place])
        self._changed &= changes.keys()
        for place, worn in changes.items():
            weight = self._module[place].weight
            if place not in self._originals:
                self._originals[place] = weight.detach().clone()
            self._changed.add(place)
            change_weight(weight, self._originals[place], worn)

    def _forget(self, keep: set[str]) -> None:
        """Drop the oldest files beyond a few, so that long evaluations do not fill the memory."""
        spare = [digest for digest in self._files if digest not in keep]
        for digest in spare[: max(0, len(self._files) - max(_KEPT_FILES, len(keep)))]:
            del self._files[digest]


_OTHER_BASE = "Check which base it was trained on."
