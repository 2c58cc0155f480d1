"""Learns a byte-level BPE vocabulary, in the form of CLIP's tokenizer, from the words that captions use.

Every word of the world becomes one token. A word that the world does not have, such as a LoRA's trigger word, falls
into several tokens of its own, down to single letters and bytes.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path

from assetforge_toybox.world import caption, sample_scene

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def byte_symbols() -> list[str]:
    """Return the printable stand-ins for the 256 bytes, in the order that GPT-2 and CLIP use."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(b) for b in printable]
    return symbols + [chr(256 + i) for i in range(256 - len(printable))]


def world_words() -> list[str]:
    """Return the words of the world's captions, sorted."""
    rng = random.Random("vocabulary")
    counts: Counter[str] = Counter()
    for _ in range(4000):
        counts.update(caption(sample_scene(rng), rng).replace(",", " ").split())
    return sorted(word for word, times in counts.items() if times >= 20)


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Return the merges, most frequent pair first (ties in alphabetical order), that make each word one token."""
    parts = [[*word[:-1], word[-1] + WORD_END] for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(p) > 1 for p in parts):
        pairs = Counter(pair for p in parts for pair in itertools.pairwise(p))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        parts = [_merge(p, best) for p in parts]
    return merges


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def write_vocabulary(folder: Path) -> None:
    """Write vocab.json and merges.txt into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(world_words())
    symbols = byte_symbols()
    tokens = dict.fromkeys([*symbols, *(s + WORD_END for s in symbols), *(a + b for a, b in merges), START, END])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
