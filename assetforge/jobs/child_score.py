"""Scoring inside a job: every metric over the pictures of a bundle."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from assetforge.api.context import Stopped
from assetforge.api.job import EngineRef, ScorePayload
from assetforge.api.protocols import Metric
from assetforge.errors import PluginError
from assetforge.extension.registry import get_registry
from assetforge.jobs.child import check_version, make_engine, validated
from assetforge.jobs.context import JobRuntime

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray

__all__ = ["score_images"]

_BATCH = 16
_Scores = dict[str, float | list[float]]


def score_images(context: JobRuntime) -> dict[str, _Scores]:
    """Run every metric of a score job.

    Returns:
        Per metric name, per image key (or ``"a|b"`` for pairs): a value, or a vector for embeddings.

    Raises:
        Stopped: Somebody asked to stop.
        PluginError: A metric gave another number of scores than it was given pictures.
    """
    payload = ScorePayload.model_validate(context.spec.payload)
    runners = {"embedding": _embed, "pair": _compare, "single": _score}
    scores: dict[str, _Scores] = {}
    for number, (ref, values) in enumerate(zip(payload.metrics, payload.params_list, strict=True)):
        check_version(ref)
        registered = get_registry().metric(ref.name)
        params = validated(registered, values)
        metric: Metric = make_engine(ref, params=params, context=context)
        scores[ref.name] = {}
        for one in runners[registered.spec.kind](context, payload, metric, ref):
            scores[ref.name].update(one)
            if context.should_stop():
                raise Stopped
        context.log(f"{ref.name}: {len(scores[ref.name])} scores")
        context.progress(number + 1, len(payload.metrics))
    return scores


def _embed(context: JobRuntime, payload: ScorePayload, metric: Metric, ref: EngineRef) -> Iterator[_Scores]:
    for batch in _batches(payload.images):
        vectors = metric.embed([_picture(context, image.file) for image in batch])
        _counted(ref, len(vectors), len(batch))
        yield {image.key: [float(value) for value in vector] for image, vector in zip(batch, vectors, strict=True)}


def _score(context: JobRuntime, payload: ScorePayload, metric: Metric, ref: EngineRef) -> Iterator[_Scores]:
    for batch in _batches(payload.images):
        values = metric.score([_picture(context, image.file) for image in batch])
        _counted(ref, len(values), len(batch))
        yield {image.key: float(value) for image, value in zip(batch, values, strict=True)}


def _compare(context: JobRuntime, payload: ScorePayload, metric: Metric, ref: EngineRef) -> Iterator[_Scores]:
    files = {image.key: image.file for image in payload.images}
    for batch in _batches(payload.pairs):
        pictures = [(_picture(context, files[first]), _picture(context, files[second])) for first, second in batch]
        values = metric.compare(pictures)
        _counted(ref, len(values), len(batch))
        yield {f"{first}|{second}": float(value) for (first, second), value in zip(batch, values, strict=True)}


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _counted(ref: EngineRef, given: int, asked: int) -> None:
    if given != asked:
        raise PluginError(
            f"The metric {ref.name!r} gave {given} scores for {asked} pictures.", hint=f"{ref.plugin} is at fault."
        )


def _picture(context: JobRuntime, file: str) -> "ImageArray":
    import numpy as np
    from PIL import Image

    with Image.open(context.workdir / file) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
