"""Prompts as SigLIP was trained to read them: lower case, no punctuation, closed by an end token, and always as long as the model reads.

The tokenizer of transformers for SigLIP wants sentencepiece; ``tokenizer.json`` beside the weights has the same pieces and needs nothing.
"""

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from assetforge.errors import UsageError

__all__ = ["canonical", "read_tokenizer", "siglip_tokens"]

_END = "</s>"
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def canonical(prompt: str) -> str:
    """The prompt in lower case, without punctuation, with single spaces."""
    return " ".join(prompt.translate(_PUNCTUATION).lower().split())


def read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer of a file.

    Raises:
        UsageError: It cannot be read, or is not SigLIP's.
    """
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust library raises bare exceptions
        raise UsageError(f"{file} is not a readable tokenizer ({error}).", hint="Copy the model again.") from error
    if tokenizer.token_to_id(_END) is None:
        raise UsageError(
            f"{file} is no tokenizer of SigLIP: it has no {_END}.",
            hint="Take the model google/siglip-base-patch16-224.",
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def siglip_tokens(tokenizer: Tokenizer, prompts: Sequence[str], length: int) -> NDArray[np.int64]:
    """Tokens of prompts, shape (n, length); what is longer is cut off before the end token, what is shorter filled with end tokens."""
    end = int(tokenizer.token_to_id(_END) or 0)
    table = np.full((len(prompts), length), end, dtype=np.int64)
    for row, prompt in enumerate(prompts):
        pieces = tokenizer.encode(canonical(prompt), add_special_tokens=False).ids[: length - 1]
        table[row, : len(pieces)] = pieces
    return table
