"""Whose face it is: SCRFD finds the largest face, five points put it in its place, a network of the ArcFace kind names it by a vector.

Both networks are read from the files of InsightFace's pack buffalo_l with onnxruntime; the package insightface is not needed.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from assetforge.errors import UsageError
from assetforge_vision.alignment import aligned
from assetforge_vision.onnx_models import OnnxNetwork
from assetforge_vision.params import FaceParams
from assetforge_vision.pictures import HALF_COLOURS, Floats, Pixels, as_input, in_batches, unit_rows
from assetforge_vision.scrfd import decode, largest_face, letterboxed
from assetforge_vision.weights import fingerprint, locate

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["FaceIdentity"]

_LOOKED_AT = 640
"""Side of the square that the detector looks at."""

_WIDTH = 512


class FaceIdentity:
    """The metric ``face-identity``."""

    def __init__(self, params: FaceParams | None = None, context: "JobContext | None" = None) -> None:
        self.params = params or FaceParams()
        self._context = context

    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint("face-identity", self.params.weights)

    def embed(self, images: Sequence[Pixels]) -> Floats:
        """One unit vector per picture, of its largest face; all zeros when it shows none."""
        faces = [self.face(image) for image in images]
        shown = [as_input(face, HALF_COLOURS) for face in faces if face is not None]
        vectors = iter(in_batches(shown, self.params.batch_size, self._recogniser.vectors))
        width = self._recogniser.output_widths[0] or _WIDTH
        return unit_rows(
            [np.zeros(width, dtype=np.float32) if face is None else next(vectors) for face in faces], width
        )

    def face(self, image: Pixels) -> Pixels | None:
        """The largest face, 112 pixels a side; ``None`` when there is none."""
        square, scale = letterboxed(image, _LOOKED_AT)
        try:
            found = decode(self._detector.run(square[None]), _LOOKED_AT, self.params.min_confidence)
        except ValueError as error:
            raise UsageError(
                f"{self._detector.file} is no SCRFD: {error}.", hint="Take det_10g.onnx of buffalo_l."
            ) from error
        face = largest_face(found, scale)
        return aligned(image, face.points) if face is not None else None

    @cached_property
    def _files(self) -> "dict[str, OnnxNetwork]":
        files = locate("face-identity", self.params.weights)
        return {name: OnnxNetwork(file, self.params, self._context) for name, file in files.items()}

    @property
    def _detector(self) -> OnnxNetwork:
        return self._files["det_10g.onnx"]

    @property
    def _recogniser(self) -> OnnxNetwork:
        return self._files["w600k_r50.onnx"]
