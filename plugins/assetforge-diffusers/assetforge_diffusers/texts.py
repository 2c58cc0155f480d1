"""The captions of a run, encoded once: token ids, and what the text encoders answer.

Cache entries are keyed by content (the text, the text encoders' files), so an edited caption can never meet a stale entry.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from assetforge.api.context import Stopped, TrainContext
from assetforge_diffusers.cache import ContentCache, digest_of
from assetforge_diffusers.captions import caption_variants
from assetforge_diffusers.families.base import Family, Tokens, Told
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.views import Entry

__all__ = ["Texts", "encode_captions", "encode_texts"]

_ENCODING_VERSION = "2"


@dataclass(frozen=True, slots=True)
class Texts:
    """The captions of a run.

    Attributes:
        tokens: Token ids by name, (texts, length), or answers of encoders that are never adapted; the last row is the empty caption.
        told: Embeddings per row; ``None`` while a text encoder trains.
        rows: Rows of every entry's caption, one per variant.
    """

    tokens: Tokens
    told: Told | None
    rows: tuple[tuple[int, ...], ...]

    def to(self, place: torch.device) -> "Texts":
        """The same on ``place``."""
        told = None if self.told is None else {name: tensor.to(place) for name, tensor in self.told.items()}
        return Texts({name: ids.to(place) for name, ids in self.tokens.items()}, told, self.rows)


def encode_captions(
    context: TrainContext,
    family: Family,
    entries: Sequence[Entry],
    params: LoraTrainerParams,
    *,
    embed: bool,
    training: bool,
    device: torch.device,
) -> Texts:
    """The captions of ``entries``, in all their variants when they are trained on.

    Raises:
        Stopped: Somebody asked to stop; what is encoded stays in the cache.
    """
    trigger = context.payload.trigger
    variants = {
        caption: caption_variants(caption, trigger, params, context.seed) if training else [caption]
        for caption in dict.fromkeys(entry.item.caption for entry in entries)
    }
    texts = [*dict.fromkeys(text for some in variants.values() for text in some), ""]
    place = {text: row for row, text in enumerate(texts)}
    tokens, told = encode_texts(context, family, texts, embed=embed, device=device)
    return Texts(tokens, told, tuple(tuple(place[text] for text in variants[entry.item.caption]) for entry in entries))


def encode_texts(
    context: TrainContext, family: Family, texts: Sequence[str], *, embed: bool, device: torch.device
) -> tuple[Tokens, Told | None]:
    """Token ids, or the answers of encoders that are never adapted; and with ``embed`` what the denoiser is told. One row a text, on the CPU.

    Raises:
        Stopped: Somebody asked to stop; what is encoded stays in the cache.
    """
    cache = ContentCache(context.cache / "diffusers")
    tokens = _tokenize(context, family, texts)
    told = _asked_once(context, cache, family, "text", texts, tokens, device) if embed else None
    if not embed and set(family.encoder_names) - set(family.adaptable_encoders):
        tokens = _asked_once(context, cache, family, "frozen", texts, tokens, device)
    return tokens, told


def _tokenize(context: TrainContext, family: Family, texts: Sequence[str]) -> Tokens:
    rows = [family.tokenize(text) for text in texts]
    long = [(text, missing) for text, (_, missing) in zip(texts, rows, strict=True) if missing]
    if long:
        text, missing = max(long, key=lambda pair: pair[1])
        context.log(
            f"{len(long)} captions are too long for the text encoder; the end is not read, at most {missing} tokens: {text[:80]!r}"
        )
    return {name: torch.stack([tokens[name] for tokens, _ in rows]) for name in rows[0][0]}


def _asked_once(
    context: TrainContext,
    cache: ContentCache,
    family: Family,
    kind: str,
    texts: Sequence[str],
    tokens: Tokens,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """What the text encoders answer to every caption, from the cache or asked now: ``text`` for all of them, ``frozen`` for those that are never adapted."""
    parts = {
        "kind": kind,
        "encoder": family.text_digest,
        "family": family.name,
        "code": _ENCODING_VERSION,
        "dtype": str(family.base.dtype),
    }
    ask = family.encode_tokens if kind == "text" else family.encode_frozen
    entries, moved = [], False
    for row, text in enumerate(texts):
        key = digest_of({**parts, "caption": hashlib.sha256(text.encode()).hexdigest()})
        entry = cache.get(key)
        if entry is None:
            if context.should_stop():
                raise Stopped
            if not moved:
                family.encoders_to(device)
                moved = True
            with torch.no_grad():
                answers = ask({name: ids[row][None] for name, ids in tokens.items()})
            entry = {name: _stored(tensor[0]) for name, tensor in answers.items()}
            cache.put(key, entry)
        entries.append(entry)
    return {name: torch.stack([entry[name] for entry in entries]) for name in entries[0]}


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().float() if tensor.dtype in {torch.float16, torch.float64} else tensor.detach().cpu()
