"""What every place that draws with a reference pipeline has to see to: the autoencoder's numbers, and the form of what comes out."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["decode_in_full", "draw"]


def decode_in_full(pipeline: Any) -> None:
    """Let the autoencoder, which stays in fp32 beside a denoiser in fewer bits, take that one's latents: not every pipeline converts what it hands over."""
    vae = pipeline.vae
    decode = vae.decode

    def converted(latents: torch.Tensor, *rest: Any, **options: Any) -> Any:
        return decode(latents.to(vae.dtype), *rest, **options)

    vae.decode = converted


def draw(pipeline: Any, **inputs: Any) -> "NDArray[np.float32]":
    """Call a pipeline; its pictures as (pictures, height, width, 3), values 0 to 1; of a film the first frame."""
    made: NDArray[np.float32] = pipeline(**inputs, output_type="np", return_dict=False)[0]
    return made[:, 0] if made.ndim == 5 else made
