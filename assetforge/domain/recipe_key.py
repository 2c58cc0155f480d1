"""Identity of a training: same key, same LoRA."""

from collections.abc import Mapping
from typing import Any

from assetforge.domain.canonical import digest

__all__ = ["recipe_key"]


def recipe_key(
    *,
    dataset_tree: str,
    trainer: str,
    trainer_version: str,
    params: Mapping[str, Any],
    base_digest: str,
    trigger: str,
    class_word: str,
    seed: int,
    plugin_version: str = "",
    warm_start: str = "",
) -> str:
    """Digest over everything that changes the weights, and nothing else.

    The recipe's name, the machine and the time are left out on purpose: they do not change the result. ``plugin_version`` is for trainers whose
    spec version does not follow their code; leave it empty when the spec's version is kept with care.

    Args:
        dataset_tree: Tree hash of the dataset version: pictures, captions, crops, repeats, splits.
        trainer: Name of the trainer.
        trainer_version: Version of its spec.
        params: Validated parameters that can change the weights, see :func:`assetforge.api.params.influential`; with defaults filled in, so that a
            changed default changes the key.
        base_digest: Digest of the base model's files.
        trigger: Trigger word.
        class_word: Class word.
        seed: Seed of all randomness.
        plugin_version: Version of the trainer's distribution, or empty.
        warm_start: Hash of the weights that training continues from, or empty.

    Returns:
        64 hexadecimal digits.
    """
    return digest(
        {
            "schema": "assetforge/recipe-key/1",
            "dataset": dataset_tree,
            "trainer": [trainer, trainer_version, plugin_version],
            "params": dict(params),
            "base": base_digest,
            "trigger": trigger,
            "class": class_word,
            "seed": seed,
            "warm_start": warm_start,
        }
    )
