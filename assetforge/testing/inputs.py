"""Small real inputs for contract suites: pictures, a dataset, a work folder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from assetforge.api import Params
from assetforge.api.job import BaseRef, DatasetItem, TrainingDataset, TrainPayload
from assetforge.testing.contexts import FolderTrainContext

__all__ = ["TRIGGER", "ContextMaker", "write_dataset", "write_picture"]

TRIGGER = "zorvex"
"""A trigger word that no vocabulary holds."""


def write_picture(path: Path, seed: int, size: tuple[int, int] = (64, 64)) -> Path:
    """Write a PNG with a coloured disc on a textured ground; the disc is always of the same colour, place and ground follow from the seed.

    Args:
        path: Where; parent folders are made.
        seed: Another seed is another picture.
        size: Width and height in pixels.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    ground = rng.integers(60, 200, (4, 4, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC))
    rows, columns = np.mgrid[0:height, 0:width]
    across, down = rng.uniform(0.35, 0.65, 2)
    disc = (columns / width - across) ** 2 + (rows / height - down) ** 2 < 0.06
    pixels[disc] = (220, 40, 60)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def write_dataset(
    workdir: Path, *, train: int = 5, held_out: int = 1, size: tuple[int, int] = (64, 64)
) -> TrainingDataset:
    """Write pictures under ``inputs/images`` and ``inputs/dataset.json``, as a bundle has them."""
    items = []
    for index in range(train + held_out):
        file = write_picture(workdir / "inputs" / "images" / f"{index:03d}.png", index, size)
        items.append(
            DatasetItem(
                file=file.relative_to(workdir).as_posix(),
                sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
                caption=f"{TRIGGER} disc, place {index}",
                width=size[0],
                height=size[1],
                split="train" if index < train else "held_out",
            )
        )
    tree = hashlib.sha256("".join(item.sha256 for item in items).encode()).hexdigest()
    dataset = TrainingDataset(address="zorvex/d1", tree_hash=tree, items=tuple(items))
    (workdir / "inputs" / "dataset.json").write_text(dataset.model_dump_json(), "utf-8")
    return dataset


@dataclass
class ContextMaker:
    """Makes train contexts below one folder; an existing work folder is continued, as a second attempt would.

    Attributes:
        root: Where the work folders are made.
    """

    root: Path

    def __call__(
        self,
        params: Params,
        base: BaseRef,
        *,
        name: str = "work",
        seed: int = 7,
        size: tuple[int, int] = (64, 64),
        metadata: Sequence[tuple[str, str]] = (("assetforge.test", "yes"),),
    ) -> FolderTrainContext:
        """A context on the work folder ``root/name``.

        Args:
            params: Validated parameters.
            base: The base model, with ``path`` set.
            name: Name of the work folder.
            seed: Seed of all randomness.
            size: Size of the pictures.
            metadata: Extra metadata that the weights file must carry.
        """
        workdir = self.root / name
        saved = workdir / "inputs" / "dataset.json"
        dataset = (
            TrainingDataset.model_validate_json(saved.read_bytes())
            if saved.is_file()
            else write_dataset(workdir, size=size)
        )
        cache = self.root / f"{name}-cache"
        cache.mkdir(parents=True, exist_ok=True)
        payload = TrainPayload(
            asset="zorvex",
            asset_type="prop",
            trigger=TRIGGER,
            class_word="disc",
            recipe="contract",
            recipe_key="0" * 64,
            base=base,
            output_name="zorvex-v001",
            metadata=dict(metadata),
        )
        return FolderTrainContext(
            workdir=workdir, cache=cache, params=params, seed=seed, payload=payload, dataset=dataset
        )
