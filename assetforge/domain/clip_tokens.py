"""How many tokens CLIP's text encoder reads in a text: exactly, from the tokenizer's own merges, or estimated without them."""

import itertools
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["ClipTokenizer", "estimated_tokens"]

_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_END = "</w>"
_WORD_LETTERS, _PIECE_LETTERS = 9, 5
_KNOWN_WORDS, _LONGEST_WORD = 50_000, 500


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has.

    A word of up to nine letters counts as one and every five letters more as another, a letter that is not ASCII as one for each two bytes, and every digit and every
    run of punctuation as one. The vocabulary of CLIP has most common English words whole, so names and rare words are where it is wrong, mostly by too few.
    """
    return sum(map(_estimated, _words(text)))


class ClipTokenizer:
    """The byte-pair encoding of CLIP, as far as counting goes.

    Args:
        merges: Pairs that are joined, in the order of the tokenizer's file, each two words with a space between or two words.
    """

    def __init__(self, merges: Iterable[str | Sequence[str]]) -> None:
        pairs = (tuple(one.split(" ") if isinstance(one, str) else one) for one in merges)
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._known: dict[str, int] = {}

    def count(self, text: str) -> int:
        """How many tokens a text has, without those that begin and end every text."""
        return sum(self._count(word) for word in _words(text))

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text as the vocabulary writes them."""
        return [piece for word in _words(text) for piece in self._pieces(word)]

    def _count(self, word: str) -> int:
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= _KNOWN_WORDS:
                self._known.clear()
            # Nothing that people write is that long; what is would take for ever.
            parts = range(0, len(word), _LONGEST_WORD)
            known = self._known[word] = sum(len(self._pieces(word[at : at + _LONGEST_WORD])) for at in parts)
        return known

    def _pieces(self, word: str) -> list[str]:
        if word in _SPECIAL:
            return [word]
        letters = [_LETTERS[byte] for byte in word.encode()]
        pieces = [*letters[:-1], letters[-1] + _END]
        while len(pieces) > 1:
            pair = min(itertools.pairwise(pieces), key=lambda pair: self._ranks.get(pair, math.inf))
            if pair not in self._ranks:
                break
            pieces = _joined(pieces, pair)
        return pieces


def _joined(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    done: list[str] = []
    at = 0
    while at < len(pieces):
        if tuple(pieces[at : at + 2]) == pair:
            done.append(pair[0] + pair[1])
            at += 2
        else:
            done.append(pieces[at])
            at += 1
    return done


def _words(text: str) -> Iterator[str]:
    """What is encoded apart: runs of letters, single digits, runs of anything else but spaces, and the ends of English contractions."""
    text = " ".join(unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode()).split()).lower()
    at = 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        end = _end_of_word(text, at)
        yield text[at:end]
        at = end


def _end_of_word(text: str, at: int) -> int:
    special = next((one for one in (*_SPECIAL, *_CONTRACTIONS) if text.startswith(one, at)), "")
    if special:
        return at + len(special)
    kind, end = _kind(text[at]), at + 1
    while kind != "N" and end < len(text) and _kind(text[end]) == kind:
        end += 1
    return end


def _kind(letter: str) -> str:
    if letter == " ":
        return " "
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else "other"


def _estimated(word: str) -> int:
    if _kind(word[0]) != "L":
        return 1
    foreign = sum(len(letter.encode()) for letter in word if not letter.isascii())
    plain = sum(letter.isascii() for letter in word)
    count = 1 + math.ceil(max(0, plain - _WORD_LETTERS) / _PIECE_LETTERS) if plain else 0
    return count + math.ceil(foreign / 2)


def _byte_letters() -> list[str]:
    """The printable letter that stands for each byte, as GPT-2 chose them."""
    kept = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in kept else next(spare)) for byte in range(256)]


_LETTERS = _byte_letters()
