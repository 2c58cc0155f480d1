"""CLIP and SigLIP: one tower for pictures, one for words, and cosines between what they say."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import CLIPModel, CLIPTokenizer, SiglipModel
from transformers.utils import logging

from assetforge.errors import UsageError
from assetforge_vision.machine import Machine
from assetforge_vision.params import NetworkParams
from assetforge_vision.pictures import (
    CLIP_COLOURS,
    HALF_COLOURS,
    Colours,
    Floats,
    Pixels,
    as_input,
    centre_crop,
    in_batches,
    short_side,
    squeezed,
    unit_rows,
)
from assetforge_vision.siglip_text import read_tokenizer, siglip_tokens
from assetforge_vision.weights import fingerprint, locate

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["ClipImage", "ClipPrompt", "SiglipImage", "SiglipPrompt", "open_network"]

logging.set_verbosity_error()
logging.disable_progress_bar()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """How a family looks and reads.

    Attributes:
        kind: Class in transformers.
        type: ``model_type`` in its settings.
        colours: Normalisation, unless the model says otherwise.
        crop: The middle square is looked at; otherwise the whole picture, squeezed into a square.
    """

    kind: type
    type: str
    colours: Colours
    crop: bool


_CLIP = _Family(kind=CLIPModel, type="clip", colours=CLIP_COLOURS, crop=True)
_SIGLIP = _Family(kind=SiglipModel, type="siglip", colours=HALF_COLOURS, crop=False)


def open_network(folder: Path, kind: Any, types: Sequence[str]) -> Any:
    """A network of transformers from a folder, safetensors only.

    Raises:
        UsageError: The folder holds another kind of network, or weights that do not fit.
    """
    found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", "")
    if found not in types:
        raise UsageError(f"{folder} holds a network of the kind {found!r}; {' or '.join(types)} is needed.")
    try:
        return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"{folder} cannot be opened: {error}.", hint="Copy the model again.") from error


class _Towers:
    """Both towers of one model, loaded when they are first asked for."""

    metric: str
    family: _Family

    def __init__(self, params: NetworkParams | None = None, context: "JobContext | None" = None) -> None:
        self.params = params or NetworkParams()
        self._machine = Machine(self.params, context)

    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint(self.metric, self.params.weights)

    @cached_property
    def folder(self) -> Path:
        """Where the model lies."""
        return locate(self.metric, self.params.weights)["config.json"].parent

    @cached_property
    def network(self) -> Any:
        """The model."""
        return self._machine.place(open_network(self.folder, self.family.kind, (self.family.type,)))

    @cached_property
    def colours(self) -> Colours:
        """What the model's own settings say, else its family's."""
        file = self.folder / "preprocessor_config.json"
        said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        usual = self.family.colours
        return Colours(tuple(said.get("image_mean", usual.mean)), tuple(said.get("image_std", usual.std)))

    def prepared(self, picture: Pixels) -> Floats:
        """The picture as the network takes it."""
        side = int(self.network.config.vision_config.image_size)
        shown = centre_crop(short_side(picture, side), side) if self.family.crop else squeezed(picture, side, side)
        return as_input(shown, self.colours)

    def pictures(self, images: Sequence[Pixels]) -> Floats:
        """Unit vectors of pictures."""
        run = self._machine.runner(lambda batch: _pooled(self.network.get_image_features(pixel_values=batch)))
        rows = in_batches([self.prepared(image) for image in images], self.params.batch_size, run)
        return unit_rows(rows, self._width)

    def texts(self, prompts: Sequence[str]) -> Floats:
        """Unit vectors of prompts; what is longer than the model reads is cut off."""
        size, rows = self.params.batch_size, []
        for start in range(0, len(prompts), size):
            tokens = {
                name: one.to(self._machine.device) for name, one in self._tokens(prompts[start : start + size]).items()
            }
            with torch.inference_mode():
                rows += [*_pooled(self.network.get_text_features(**tokens)).float().cpu().numpy()]
        return unit_rows(rows, self._width)

    def _tokens(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        length = int(self.network.config.text_config.max_position_embeddings)
        if self.family.type == "siglip":
            return {"input_ids": torch.from_numpy(siglip_tokens(self._tokenizer, prompts, length))}
        return dict(
            self._tokenizer(list(prompts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        )

    @cached_property
    def _tokenizer(self) -> Any:
        if self.family.type == "siglip":
            return read_tokenizer(self.folder / "tokenizer.json")
        try:
            return CLIPTokenizer.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UsageError(f"The tokenizer in {self.folder} cannot be opened: {error}.") from error

    @property
    def _width(self) -> int:
        config = self.network.config
        return int(getattr(config, "projection_dim", None) or config.vision_config.hidden_size)


def _pooled(features: Any) -> torch.Tensor:
    pooled: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return pooled


class _ImageMetric(_Towers):
    def embed(self, images: Sequence[Pixels]) -> Floats:
        """One unit vector per picture."""
        return self.pictures(images)


class _PromptMetric(_Towers):
    def follow(self, images: Sequence[Pixels], prompts: Sequence[str]) -> list[float]:
        """Cosine of every picture with its prompt; NaN, which is not measured, where nothing was asked for."""
        asked = sorted({prompt for prompt in prompts if prompt.strip()})
        words = dict(zip(asked, self.texts(asked), strict=True))
        shown = self.pictures(images)
        return [
            float(np.dot(picture, words[prompt])) if prompt in words else float("nan")
            for picture, prompt in zip(shown, prompts, strict=True)
        ]


class ClipImage(_ImageMetric):
    """The metric ``clip-image``."""

    metric, family = "clip-image", _CLIP


class ClipPrompt(_PromptMetric):
    """The metric ``clip-prompt``."""

    metric, family = "clip-prompt", _CLIP


class SiglipImage(_ImageMetric):
    """The metric ``siglip-image``."""

    metric, family = "siglip-image", _SIGLIP


class SiglipPrompt(_PromptMetric):
    """The metric ``siglip-prompt``."""

    metric, family = "siglip-prompt", _SIGLIP
