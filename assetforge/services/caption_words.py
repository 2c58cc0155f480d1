"""What captions are made of: their tags and how often each is used, and how many tokens they are for the base that is trained on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from assetforge.db.models import Reference
from assetforge.domain.captions import TagCount, says_trigger, tag_counts, training_caption
from assetforge.domain.clip_tokens import ClipTokenizer, estimated_tokens
from assetforge.domain.names import reference_address
from assetforge.errors import AssetForgeError
from assetforge.extension.registry import get_registry
from assetforge.services.assets import AssetInfo, find_asset, get_asset
from assetforge.services.base_entries import entry_paths, read_entries
from assetforge.services.base_models import locate_base
from assetforge.services.projects import Project
from assetforge.services.recipes import recipes_for
from assetforge.store.model_places import find_place, is_place

__all__ = [
    "CLIP_LIMIT",
    "CaptionTokens",
    "CaptionWords",
    "TokenCounter",
    "caption_tags",
    "caption_words",
    "token_counter",
]

CLIP_LIMIT = 75
"""Tokens that CLIP's text encoder reads of a text, besides the two that begin and end it; the rest of a longer one is cut off."""

_FRAME = 2
_MOST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounter:
    """Counts tokens of captions as they are trained on.

    Attributes:
        says: What the number is, in one sentence.
        exact: From the tokenizer of the base itself.
        limit: Tokens that are read, the rest is cut off; ``None`` where a longer text encoder reads along.
        base: Name of the base model; empty when none is known.
        trigger: Of the asset; training puts it in, so it counts.
        class_word: Of the asset.
    """

    says: str
    exact: bool
    limit: int | None
    base: str
    trigger: str
    class_word: str
    _count: Callable[[str], int] = field(repr=False)

    def trained(self, caption: str) -> str:
        """A caption as training reads it, with the trigger."""
        return training_caption(caption, trigger=self.trigger, class_word=self.class_word)

    def count(self, caption: str) -> int:
        """Tokens of a caption as training reads it."""
        return self._count(self.trained(caption))


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionTokens:
    """A caption and its length.

    Attributes:
        address: The reference.
        sha256: Hash of its bytes.
        caption: As it is kept.
        trained: As it is trained on, with the trigger.
        tokens: Of ``trained``.
        too_long: Its end is cut off.
        says_trigger: The caption says the trigger itself, which stays where it stands.
    """

    address: str
    sha256: str
    caption: str
    trained: str
    tokens: int
    too_long: bool
    says_trigger: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionWords:
    """The captions of an asset's active references as training sees them.

    Attributes:
        counter: How tokens are counted.
        captions: Longest first.
        missing: References without a caption, which are trained on by trigger and class word alone.
    """

    counter: TokenCounter
    captions: tuple[CaptionTokens, ...]
    missing: int


def caption_tags(project: Project, asset: str) -> list[TagCount]:
    """The tags in the captions of an asset's active references, most frequent first.

    Raises:
        NotFoundError: There is no such asset.
    """
    return tag_counts(caption for _, caption in _captions(project, asset))


def caption_words(project: Project, asset: str) -> CaptionWords:
    """Every caption with the text that is trained on and its length in tokens, longest first.

    Raises:
        NotFoundError: There is no such asset.
    """
    counter = token_counter(project, asset)
    rows = _captions(project, asset)
    found = [_tokens(asset, sha256, caption, counter) for sha256, caption in rows]
    found.sort(key=lambda one: (-one.tokens, one.sha256))
    return CaptionWords(counter=counter, captions=tuple(found), missing=sum(not caption for _, caption in rows))


def token_counter(project: Project, asset: str, *, base: str = "") -> TokenCounter:
    """What counts the tokens of an asset's captions.

    Args:
        project: The film.
        asset: Name of the asset.
        base: Base model; by default the one that the asset is trained on.

    Raises:
        NotFoundError: There is no such asset.
    """
    info = get_asset(project, asset)
    name = base or _base_name(project, info)
    folder = _folder(name) if name else None
    known = _tokenizer(folder) if folder is not None else None
    about: dict[str, Any] = {"base": name, "trigger": info.trigger, "class_word": info.class_word}
    if known is None:
        why = f"the base {name} has no CLIP tokenizer here" if name else "no base model is known"
        says = f"Estimated, since {why}: one token per word of up to 9 letters, per digit and per run of punctuation, more for longer words."
        # A base that is here and has other text encoders reads more than CLIP does.
        limit = None if folder is not None and (folder / "tokenizer").is_dir() else CLIP_LIMIT
        return TokenCounter(**about, says=says, exact=False, limit=limit, _count=estimated_tokens)
    tokenizer, limit, longer = known
    says = f"Counted with the tokenizer of {name}, which reads {limit} tokens."
    if longer:
        says += " Its other text encoder reads longer texts, so nothing is cut off there."
    return TokenCounter(**about, says=says, exact=True, limit=None if longer else limit, _count=tokenizer.count)


def _captions(project: Project, asset: str) -> list[tuple[str, str]]:
    with project.read() as session:
        row = find_asset(session, asset)
        query = (
            select(Reference.sha256, Reference.caption)
            .where(Reference.asset_id == row.id, col(Reference.state) == "active")
            .order_by(col(Reference.sha256))
            .limit(_MOST)
        )
        return list(session.exec(query).all())


def _tokens(asset: str, sha256: str, caption: str, counter: TokenCounter) -> CaptionTokens:
    tokens = counter.count(caption)
    return CaptionTokens(
        address=reference_address(asset, sha256),
        sha256=sha256,
        caption=caption,
        trained=counter.trained(caption),
        tokens=tokens,
        too_long=counter.limit is not None and tokens > counter.limit,
        says_trigger=says_trigger(caption, counter.trigger),
    )


def _base_name(project: Project, asset: AssetInfo) -> str:
    """The base that the asset is trained on when nobody says otherwise; nothing is hashed to find it."""
    defaults = project.config.defaults
    recipe = asset.recipe or defaults.recipe.get(asset.type, "")
    if defaults.base or not recipe:
        return defaults.base or next((one.spec.base for one in recipes_for(asset.type) if one.spec.base), "")
    return next((one.spec.base for one in get_registry().recipes() if one.spec.name == recipe), "")


def _folder(name: str) -> Path | None:
    """The folder of a base in diffusers layout, where there is one on this machine."""
    try:
        entries = read_entries()
        if name in entries:
            path, config = entry_paths(entries[name])
        elif is_place(name):
            path, config = find_place(name).path, None
        else:
            path, config = locate_base(name), None
    except AssetForgeError:
        return None
    folder = config or path
    return folder if folder.is_dir() else None


def _tokenizer(folder: Path) -> tuple[ClipTokenizer, int, bool] | None:
    """The CLIP tokenizer of a base, how many tokens it reads, and whether another text encoder reads longer texts; ``None`` without one."""
    files = [folder / "tokenizer" / name for name in ("merges.txt", "tokenizer.json")]
    file = next((one for one in files if one.is_file()), None)
    settings = _json(folder / "tokenizer" / "tokenizer_config.json")
    if file is None or not str(settings.get("tokenizer_class", "CLIPTokenizer")).startswith("CLIP"):
        return None
    seen = file.stat()
    tokenizer = _read_merges(file, seen.st_mtime_ns, seen.st_size)
    if tokenizer is None:
        return None
    length = settings.get("model_max_length")
    limit = length - _FRAME if isinstance(length, int) and _FRAME < length <= _MOST else CLIP_LIMIT
    others = (_json(one / "tokenizer_config.json") for one in sorted(folder.glob("tokenizer_*")))
    longer = any(not str(one.get("tokenizer_class", "CLIP")).startswith("CLIP") for one in others)
    return tokenizer, limit, longer


@lru_cache(maxsize=8)
def _read_merges(file: Path, _changed: int, _size: int) -> ClipTokenizer | None:
    try:
        if file.suffix == ".json":
            merges = _json(file).get("model", {}).get("merges", [])
        else:
            lines = file.read_text(encoding="utf-8").splitlines()
            merges = [line for line in lines if line.strip() and not line.startswith("#version")]
    except (OSError, UnicodeDecodeError):
        return None
    return ClipTokenizer(merges) if merges else None


def _json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
