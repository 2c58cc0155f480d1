"""FLIP: what somebody sees who flips between two pictures, by the authors' own library."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["PIXELS_PER_DEGREE", "Flip", "needs"]

PIXELS_PER_DEGREE = 67.0
"""As the authors assume: a 4K screen 0.7 m wide, seen from 0.7 m."""


def needs() -> str:
    """What is missing for it to run here; empty when nothing is."""
    if importlib.util.find_spec("flip_evaluator") is not None:
        return ""
    return "FLIP needs the package flip-evaluator; where it has no wheel, `pip install flip-evaluator` compiles it."


@cache
def _library() -> Callable[..., Any]:
    # Its threads spin while they wait unless they are told when they are loaded; on a busy machine that costs ten times the work.
    name, before = "OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY")
    os.environ[name] = before or "PASSIVE"
    try:
        from flip_evaluator import evaluate
    finally:
        if before is None:
            del os.environ[name]
    function: Callable[..., Any] = evaluate
    return function


class Flip:
    """Mean low-dynamic-range FLIP of two pictures, 0 for equal ones, at most 1.

    P. Andersson, J. Nilsson, T. Akenine-Moeller, M. Oskarsson, K. Astroem, M. D. Fairchild, "FLIP: A Difference Evaluator for Alternating Images", Proceedings of
    the ACM on Computer Graphics and Interactive Techniques 3(2), 2020.
    """

    def compare(self, pairs: "Sequence[tuple[ImageArray, ImageArray]]") -> Sequence[float]:
        """One value per pair of equally sized pictures, the second one being the reference.

        Raises:
            ValueError: The two differ in size.
        """
        return [self._one(test, reference) for test, reference in pairs]

    @staticmethod
    def _one(test: "ImageArray", reference: "ImageArray") -> float:
        evaluate = _library()
        if test.shape != reference.shape:
            raise ValueError(f"FLIP needs pictures of one size, got {test.shape[1::-1]} and {reference.shape[1::-1]}")
        seen = [image.astype(np.float32) / np.float32(255) for image in (reference, test)]
        # The library adds up in single precision; its map is exact.
        errors, _mean, _parameters = evaluate(
            *seen, "LDR", applyMagma=False, computeMeanError=False, parameters={"ppd": PIXELS_PER_DEGREE}
        )
        return float(errors.mean(dtype=np.float64))
