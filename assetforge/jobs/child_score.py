"""Scoring inside a job: every metric over the pictures of a bundle it has something to say about, except for what is known already."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from assetforge.api.context import Stopped
from assetforge.api.job import WITHIN, EngineRef, ScoreImage, ScorePayload
from assetforge.api.params import Params
from assetforge.api.protocols import Metric
from assetforge.errors import PluginError
from assetforge.extension.registry import get_registry, load
from assetforge.jobs.child import check_version, make_engine, validated
from assetforge.jobs.context import JobRuntime
from assetforge.jobs.score_cache import Score, ScoreCache, content_key, open_score_cache

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["score_images"]

_BATCH = 16
_KEPT_BYTES = 256 * 2**20
"""Of decoded pictures, for the next metric."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing to score: a picture, a picture with its prompt, or a pair."""

    key: str
    images: tuple[ScoreImage, ...]
    prompt: str = ""

    @property
    def content(self) -> str:
        """Key in the cache."""
        return content_key([image.sha256 for image in self.images], self.prompt)


def score_images(context: JobRuntime) -> dict[str, dict[str, Score]]:
    """Run every metric of a score job.

    Returns:
        Per metric name, per image key (or ``"a|b"`` for pairs): a value, or a vector for embeddings.

    Raises:
        Stopped: Somebody asked to stop.
        PluginError: A metric gave another number of scores than it was given pictures.
    """
    payload = ScorePayload.model_validate(context.spec.payload)
    sides = payload.sides or ((),) * len(payload.metrics)
    pictures = _Pictures(context)
    scores: dict[str, dict[str, Score]] = {}
    for number, (ref, values, seen) in enumerate(zip(payload.metrics, payload.params_list, sides, strict=True)):
        check_version(ref)
        registered = get_registry().metric(ref.name)
        params = validated(registered, values)
        items = _items(payload, registered.spec.kind, seen)
        written = params.model_dump(mode="json")
        work = _Work(context, ref, registered.spec.kind, params, pictures)
        with open_score_cache(
            lambda: context.cache, ref, written, context.device, context.log, work.fingerprint()
        ) as cache:
            scores[ref.name], known = work.score(items, cache)
        context.log(f"{ref.name}: {len(items)} scores" + (f", {known} of them known already" if known else ""))
        context.progress(number + 1, len(payload.metrics))
    return scores


def _items(payload: ScorePayload, kind: str, sides: Sequence[str]) -> list[_Item]:
    """What a metric of this kind looks at, in the order of the payload."""

    def seen(key: str) -> bool:
        return not sides or key.partition("/")[0] in sides

    if kind == "pair":
        images = {image.key: image for image in payload.images}
        return [
            _Item(f"{first}|{second}", (images[first], images[second]))
            for first, second in payload.pairs
            if seen(first) and seen(second) and (not sides or _apart(first, second) or WITHIN in sides)
        ]
    wanted = [image for image in payload.images if seen(image.key)]
    if kind == "prompt":
        return [_Item(image.key, (image,), image.prompt) for image in wanted if image.prompt]
    return [_Item(image.key, (image,)) for image in wanted]


def _apart(first: str, second: str) -> bool:
    return first.partition("/")[0] != second.partition("/")[0]


class _Pictures:
    """Pictures of the bundle, decoded once as long as they fit into memory."""

    def __init__(self, context: JobRuntime) -> None:
        self._folder = context.workdir
        self._kept: dict[str, ImageArray] = {}
        self._room = _KEPT_BYTES

    def __call__(self, image: ScoreImage) -> "ImageArray":
        """Shape (height, width, 3), not to be written to."""
        known = self._kept.get(image.file)
        if known is not None:
            return known
        import numpy as np
        from PIL import Image

        with Image.open(self._folder / image.file) as opened:
            pixels = np.asarray(opened.convert("RGB"), dtype=np.uint8)
        # What came first stays: every metric goes through the pictures in one order, and the last ones would drive out the next.
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._kept[image.file] = pixels
        return pixels


@dataclass(frozen=True)
class _Work:
    """One metric of the job."""

    context: JobRuntime
    ref: EngineRef
    kind: str
    params: Params
    pictures: _Pictures

    @cached_property
    def metric(self) -> Metric:
        """The metric, made when it is first needed."""
        made: Metric = make_engine(self.ref, params=self.params, context=self.context)
        return made

    def fingerprint(self) -> str:
        """What tells the metric's weights from others; empty for metrics that do not say, which are not made for the question."""
        return str(self.metric.fingerprint()) if hasattr(load(self.ref.load), "fingerprint") else ""

    def score(self, items: Sequence[_Item], cache: ScoreCache) -> tuple[dict[str, Score], int]:
        """Scores by key, and how many of them were known."""
        known = cache.get(list(dict.fromkeys(item.content for item in items)))
        found = {item.key: known[item.content] for item in items if item.content in known}
        missing = [item for item in items if item.key not in found]
        before = len(found)
        if missing:
            for batch in _batches(missing):
                values = self._run(batch)
                found.update((item.key, value) for item, value in zip(batch, values, strict=True))
                cache.put({item.content: value for item, value in zip(batch, values, strict=True)})
                if self.context.should_stop():
                    raise Stopped
        return {item.key: found[item.key] for item in items}, before

    def _run(self, batch: Sequence[_Item]) -> list[Score]:
        values = _CALLS[self.kind](self.metric, batch, self.pictures)
        if len(values) != len(batch):
            raise PluginError(
                f"The metric {self.ref.name!r} gave {len(values)} scores for {len(batch)} pictures.",
                hint=f"{self.ref.plugin} is at fault.",
            )
        if self.kind == "embedding":
            return [[float(value) for value in vector] for vector in values]
        return [float(value) for value in values]


def _embed(metric: Metric, batch: Sequence[_Item], pictures: _Pictures) -> Sequence[Any]:
    return list(metric.embed([pictures(item.images[0]) for item in batch]))


def _compare(metric: Metric, batch: Sequence[_Item], pictures: _Pictures) -> Sequence[Any]:
    return metric.compare([(pictures(item.images[0]), pictures(item.images[1])) for item in batch])


def _single(metric: Metric, batch: Sequence[_Item], pictures: _Pictures) -> Sequence[Any]:
    return metric.score([pictures(item.images[0]) for item in batch])


def _follow(metric: Metric, batch: Sequence[_Item], pictures: _Pictures) -> Sequence[Any]:
    return metric.follow([pictures(item.images[0]) for item in batch], [item.prompt for item in batch])


_CALLS: Mapping[str, Callable[[Metric, Sequence[_Item], _Pictures], Sequence[Any]]] = {
    "embedding": _embed,
    "pair": _compare,
    "single": _single,
    "prompt": _follow,
}


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
