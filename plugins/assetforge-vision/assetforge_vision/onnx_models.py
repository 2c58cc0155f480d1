"""Networks in ONNX files, run by onnxruntime."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from assetforge.errors import UsageError
from assetforge_vision.params import VisionParams
from assetforge_vision.pictures import Floats
from assetforge_vision.weights import check_file

if TYPE_CHECKING:
    from assetforge.api.context import JobContext

__all__ = ["OnnxNetwork"]

_QUIET = 3


class OnnxNetwork:
    """One ONNX file, ready to run.

    Args:
        file: The file.
        params: What the user set.
        context: The job, whose device is taken unless the user named one; onnxruntime without support for it computes on the CPU.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is no ONNX file, or the device that the user named is not there.
    """

    def __init__(self, file: Path, params: VisionParams, context: "JobContext | None" = None) -> None:
        self.file = check_file(file)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        # A number of our own also keeps onnxruntime from pinning threads to cores, which containers refuse with a page of warnings.
        options.intra_op_num_threads = (context.threads if context is not None else 0) or os.cpu_count() or 1
        providers = _providers(params.device, context.device if context is not None else "auto")
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        except Exception as error:  # onnxruntime's own errors share no base class
            raise UsageError(
                f"{file} is not a readable ONNX model ({_first_line(error)}).", hint="Copy it again."
            ) from error
        self._input = self._session.get_inputs()[0]

    @property
    def output_widths(self) -> list[int]:
        """The last dimension of every output; 0 where the file leaves it open."""
        lasts = [output.shape[-1] if output.shape else 0 for output in self._session.get_outputs()]
        return [last if isinstance(last, int) else 0 for last in lasts]

    def run(self, batch: Floats) -> list[Floats]:
        """All outputs for one batch (n, 3, h, w), as large as the file allows."""
        out: list[Any] = self._session.run(None, {self._input.name: np.ascontiguousarray(batch, dtype=np.float32)})
        return [np.asarray(one, dtype=np.float32) for one in out]

    def vectors(self, batch: Floats) -> Floats:
        """The first output for a batch (n, 3, h, w), shape (n, d); a file that takes fewer at once is run as often as it needs."""
        fixed = self._input.shape[0]
        step = fixed if isinstance(fixed, int) else len(batch)
        parts = [self.run(padded)[0][:count] for padded, count in _pieces(batch, step)]
        return np.concatenate([part.reshape(len(part), -1) for part in parts])


def _pieces(batch: Floats, step: int) -> list[tuple[Floats, int]]:
    pieces = []
    for start in range(0, len(batch), step):
        piece = batch[start : start + step]
        short = step - len(piece)
        filled = np.concatenate([piece, np.repeat(piece[-1:], short, axis=0)]) if short else piece
        pieces.append((filled, len(piece)))
    return pieces


def _providers(named: str, job: str) -> Sequence[Any]:
    kind, _, number = (named if named != "auto" else job).partition(":")
    there = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" in there and kind in ("auto", "cuda"):
        return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]
    if named not in ("auto", "cpu"):
        raise UsageError(
            f"The onnxruntime that is installed cannot compute on {named}.",
            hint="Install onnxruntime-gpu instead of onnxruntime, or set the device to auto or cpu.",
        )
    return ["CPUExecutionProvider"]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
