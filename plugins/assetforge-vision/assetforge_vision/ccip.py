"""CCIP: how near two drawn characters are, by the feature network of deepghs/ccip_onnx. Its difference of two pictures is (1 - cosine) / 2."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from assetforge_vision.onnx_models import OnnxNetwork
from assetforge_vision.params import VisionParams
from assetforge_vision.pictures import BILINEAR, CLIP_COLOURS, Floats, Pixels, as_input, in_batches, squeezed, unit_rows
from assetforge_vision.weights import fingerprint, locate

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["Ccip"]

_SIDE = 384
_WIDTH = 768


class Ccip:
    """The metric ``ccip``."""

    def __init__(self, params: VisionParams | None = None, context: "JobContext | None" = None) -> None:
        self.params = params or VisionParams()
        self._context = context

    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint("ccip", self.params.weights)

    @cached_property
    def network(self) -> OnnxNetwork:
        """The feature network."""
        (file,) = locate("ccip", self.params.weights).values()
        return OnnxNetwork(file, self.params, self._context)

    def embed(self, images: Sequence[Pixels]) -> Floats:
        """One unit vector per picture."""
        inputs = [as_input(squeezed(image, _SIDE, _SIDE, BILINEAR), CLIP_COLOURS) for image in images]
        return unit_rows(
            in_batches(inputs, self.params.batch_size, self.network.vectors), self.network.output_widths[0] or _WIDTH
        )
