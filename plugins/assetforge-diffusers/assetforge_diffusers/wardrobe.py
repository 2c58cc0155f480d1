"""Puts LoRAs on a loaded base and takes them off again without a trace.

Worn LoRAs are merged into the weights where numbers are fp32, as A1111 and ComfyUI do it: sampling then costs what the bare base costs. The base's own
weights are kept aside and copied back, never computed back, so nothing is left behind.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from assetforge.api.job import LoraRef
from assetforge.errors import UsageError
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.loading import align_weights, read_tensors

__all__ = ["Wardrobe"]

_KEPT_ADAPTERS = 4
Stack = tuple[tuple[str, float], ...]


class Wardrobe:
    """What an opened base wears.

    Attributes:
        worn: Hash and strength of every LoRA that is worn now, in order.
    """

    def __init__(self, family: Family, folder: Path, *, merge: bool) -> None:
        """Dress ``family`` in files below ``folder``; ``merge`` them into the weights or compute them beside."""
        self.worn: Stack = ()
        self._pipeline: Any = family.pipeline
        self._family_name = family.name
        self._modules: dict[str, Any] = {
            name: getattr(self._pipeline, name) for name in (family.denoiser_name, *family.text_encoders)
        }
        self._folder = folder
        self._merge = merge
        self._changes_text: dict[str, bool] = {}
        self._originals: dict[Any, torch.Tensor] = {}

    @property
    def worn_by_text(self) -> Stack:
        """The part of ``worn`` that changes text encoders."""
        return tuple((digest, strength) for digest, strength in self.worn if self._changes_text[digest])

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
        self._take_off()
        for lora, _ in wanted:
            if lora.sha256 not in self._changes_text:
                self._load(lora)
        self._forget({digest for digest, _ in stack})
        if stack:
            self._put_on(stack)
            self.worn = stack

    def _take_off(self) -> None:
        for layer, weight in self._originals.items():
            if layer.merged_adapters:
                layer.get_base_layer().weight.data.copy_(weight)
                layer.merged_adapters.clear()
        if self._changes_text:
            self._pipeline.disable_lora()
        self.worn = ()

    def _put_on(self, stack: Stack) -> None:
        names = [_adapter_name(digest) for digest, _ in stack]
        self._pipeline.enable_lora()
        self._pipeline.set_adapters(names, [strength for _, strength in stack])
        if not self._merge:
            return
        for module in self._modules.values():
            layers: list[Any] = [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
            for layer in layers:
                if mine := [name for name in names if name in layer.scaling]:
                    if layer not in self._originals:
                        self._originals[layer] = layer.get_base_layer().weight.detach().clone()
                    layer.merge(adapter_names=mine)

    def _load(self, lora: LoraRef) -> None:
        file = self._folder / lora.file
        if file.suffix.lower() != ".safetensors":
            raise UsageError(
                f"{lora.name} is stored in {file.name}; only safetensors are opened.",
                hint="Convert it with the tool that made it.",
            )
        tensors, _ = read_tensors(file)
        adapter = _adapter_name(lora.sha256)
        hint = "Check which base it was trained on."
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several are wanted
                self._pipeline.load_lora_weights(
                    file.parent,
                    weight_name=file.name,
                    adapter_name=adapter,
                    local_files_only=True,
                    use_safetensors=True,
                )
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise UsageError(
                f"{lora.name} ({file.name}) is not a LoRA for this {self._family_name} base: {error}.", hint=hint
            ) from error
        if not any(adapter in getattr(module, "peft_config", {}) for module in self._modules.values()):
            raise UsageError(f"{lora.name} ({file.name}) holds no layer of this {self._family_name} base.", hint=hint)
        for module in self._modules.values():
            align_weights(module)
            module.eval()  # a file may ask for dropout, which diffusers loads in training mode
        self._changes_text[lora.sha256] = any(name.startswith(("lora_te", "text_encoder")) for name in tensors)

    def _forget(self, keep: set[str]) -> None:
        """Drop the oldest adapters beyond a few, so that long evaluations do not fill the memory."""
        spare = [digest for digest in self._changes_text if digest not in keep]
        for digest in spare[: max(0, len(self._changes_text) - max(_KEPT_ADAPTERS, len(keep)))]:
            self._pipeline.delete_adapters(_adapter_name(digest))
            del self._changes_text[digest]


def _adapter_name(digest: str) -> str:
    return f"lora_{digest[:16]}"
