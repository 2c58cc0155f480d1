"""LoRAs whose worth is known, and their renders: what ``bench_regression.py`` judges.

Every LoRA is trained by the plugin's own trainer on the toybox and rendered by the plugin's own renderer. A variant is a kind (as it should be, or damaged in one
known way), an asset of the demo film and a seed; its file and pictures are kept in a folder, so that an interrupted harness goes on where it was.
"""

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from assetforge_toybox.demo import ASSETS, CastMember, Reference, asset, references
from assetforge_toybox.locate import base_folder
from assetforge_toybox.presets import RECIPES, SUITES
from numpy.typing import NDArray
from PIL import Image

from assetforge.api.job import BaseRef, Cell, DatasetItem, LoraRef, TrainingDataset, TrainPayload
from assetforge.domain.suite import SuiteDefinition, expand
from assetforge.testing.contexts import FolderContext, FolderTrainContext

Pictures = NDArray[np.uint8]

STEPS = 160
HELD_OUT = 4
SEEDS = range(1, 7)
CALIBRATION_SEEDS = range(101, 104)
DAMAGE_SEEDS = range(201, 204)
STYLE_SEEDS = range(201, 211)
SIBLINGS = {"mara": "ilse", "ilse": "mara", "brass-lamp": "ilse", "ink-wash": "mara"}
"""Whose pictures are mistaken for an asset's."""

GOOD = "as it should be"
LONG = "ten times the steps"
THIRD = "a third of the references"
NINTH = "a ninth of the references"
NOISY = "weights with added noise"
NOISIER = "weights with half as much noise again"
UNTOLD = "a style without content captions"
HALF = "half the steps"
QUARTER = "half of half the steps"
DAMAGES = (
    HALF,
    QUARTER,
    LONG,
    "a fifth of the references replaced by another asset's",
    "trigger misspelt in captions",
    "colour cast on references",
    "captions shuffled between images",
    UNTOLD,
    NOISY,
    NOISIER,
)
NOISE = {NOISY: 2.0, NOISIER: 3.0}
"""Standard deviation of the added noise over that of the tensor it is added to."""


@dataclass(frozen=True)
class Variant:
    """One LoRA."""

    kind: str
    asset: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where it is kept, below the population's folder."""
        return Path(self.asset) / self.kind.replace(" ", "-").replace("'", "") / str(self.seed)

    @property
    def steps(self) -> int:
        """Training steps."""
        return {HALF: STEPS // 2, QUARTER: STEPS // 4, LONG: STEPS * 10}.get(self.kind, STEPS)


def population() -> list[Variant]:
    """Every variant, ordered so that the first ones already say something about everything."""
    good = [Variant(GOOD, one.name, seed) for seed in (*SEEDS, *CALIBRATION_SEEDS) for one in ASSETS]
    fewer = [Variant(kind, one.name, seed) for seed in DAMAGE_SEEDS for kind in (THIRD, NINTH) for one in ASSETS]
    damaged = [
        Variant(kind, one.name, seed)
        for seed in DAMAGE_SEEDS
        for kind in DAMAGES
        for one in ASSETS
        # Ten times the steps cost as much as forty others: one of each asset, against three versions.
        if kind != UNTOLD and (kind != LONG or seed == DAMAGE_SEEDS[0])
    ]
    untold = [Variant(UNTOLD, "ink-wash", seed) for seed in STYLE_SEEDS]
    return [*_alternately(good, [*damaged, *untold, *fewer])]


def _alternately(*rows: Sequence[Variant]) -> Iterator[Variant]:
    """Elements of all rows, so that each row comes to its end at the same time."""
    places = [
        ((index + 0.5) / len(row), number, one) for number, row in enumerate(rows) for index, one in enumerate(row)
    ]
    # Ten times the steps go first, or one process would be busy with them when all others are done.
    for _, _, one in sorted(places, key=lambda place: (place[2].kind != LONG, place[0], place[1])):
        yield one


def suite(name: str) -> SuiteDefinition:
    """The suite of an asset."""
    kind = asset(name).kind
    return SuiteDefinition.from_spec(next(one for one in SUITES if kind in one.asset_types))


def cells_of(name: str, part: str) -> tuple[Cell, ...]:
    """The cells that verdicts are made of: ``first`` for core and bleed, ``more`` for the reserve."""
    member = asset(name)
    every = expand(suite(name), trigger=member.trigger, class_word=member.class_word, extension=part == "more")
    return tuple(cell for cell in every if cell.block != "strength")


@cache
def shared(name: str) -> tuple[list[Reference], list[Reference]]:
    """References to train on and to score by."""
    every = [*references(name, 1), *references(name, 2)]
    held = {every[place].name for place in (1, 6, 11, 17)[:HELD_OUT]}
    return [one for one in every if one.name not in held], [one for one in every if one.name in held]


def held_out(name: str) -> list[Pictures]:
    """Held-out references at the size of the renders."""
    return [np.asarray(one.picture.resize((64, 64), Image.Resampling.LANCZOS)) for one in shared(name)[1]]


def material(variant: Variant) -> list[tuple[str, Image.Image]]:
    """Captions and pictures to train a variant on."""
    random_by = random.Random(f"{variant.kind}/{variant.asset}/{variant.seed}")
    member, pictures = asset(variant.asset), [(one.caption, one.picture) for one in shared(variant.asset)[0]]
    if variant.kind in (THIRD, NINTH):
        pictures = random_by.sample(pictures, len(pictures) // (3 if variant.kind == THIRD else 9))
    elif variant.kind.startswith("a fifth"):
        others = random_by.sample(shared(SIBLINGS[variant.asset])[0], len(pictures) // 5 + 1)
        for place, other in zip(random_by.sample(range(len(pictures)), len(others)), others, strict=True):
            pictures[place] = (pictures[place][0], other.picture)
    elif variant.kind.startswith("trigger"):
        wrong = member.trigger[:2] + member.trigger[3] + member.trigger[2] + member.trigger[4:]
        pictures = [(caption.replace(member.trigger, wrong), picture) for caption, picture in pictures]
    elif variant.kind.startswith("colour"):
        cast = [random_by.uniform(0.65, 0.8), 1.0, random_by.uniform(0.85, 1.0)]
        random_by.shuffle(cast)
        pictures = [(caption, _tinted(picture, cast)) for caption, picture in pictures]
    elif variant.kind.startswith("captions"):
        places = list(range(len(pictures)))
        random_by.shuffle(places)
        # Along one cycle, so that no picture keeps its caption.
        after = dict(zip(places, [*places[1:], places[0]], strict=True))
        pictures = [(pictures[after[place]][0], picture) for place, (_, picture) in enumerate(pictures)]
    elif variant.kind == UNTOLD:
        pictures = [(member.trigger, picture) for _, picture in pictures]
    return pictures


def _tinted(picture: Image.Image, factors: Sequence[float]) -> Image.Image:
    return Image.fromarray((np.asarray(picture) * np.array(factors)).round().astype(np.uint8))


def base() -> BaseRef:
    """The toybox."""
    return BaseRef(name="toybox", family="sd15", digest="0" * 64, path=str(base_folder()), resolution=64)


def train(root: Path, variant: Variant) -> Path:
    """The LoRA file of a variant, trained now unless it is there."""
    from assetforge_diffusers.params import LoraTrainerParams
    from assetforge_diffusers.trainer import LoraTrainer

    work = root / variant.folder
    done = work / "weights.safetensors"
    if done.is_file():
        return done
    if variant.kind in NOISE:
        good = train(root, Variant(GOOD, variant.asset, SEEDS[0] + DAMAGE_SEEDS.index(variant.seed) + 3))
        return _with_noise(good, done, variant.seed, NOISE[variant.kind])
    member = asset(variant.asset)
    recipe = next(one for one in RECIPES if member.kind in one.asset_types)
    (work / "inputs").mkdir(parents=True, exist_ok=True)
    items = []
    for number, (caption, picture) in enumerate(material(variant)):
        file = work / "inputs" / f"{number:02d}.png"
        picture.save(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        name = file.relative_to(work).as_posix()
        items.append(DatasetItem(file=name, sha256=digest, caption=caption, width=picture.width, height=picture.height))
    caches = work / "cache"
    caches.mkdir(exist_ok=True)
    context = FolderTrainContext(
        workdir=work,
        cache=caches,
        params=LoraTrainerParams(**{**recipe.params, "steps": variant.steps}),
        seed=variant.seed,
        payload=TrainPayload(
            asset=member.name,
            asset_type=member.kind,
            trigger=member.trigger,
            class_word=member.class_word,
            recipe=recipe.name,
            recipe_key="0" * 64,
            base=base(),
            output_name="weights",
        ),
        dataset=TrainingDataset(address=f"{member.name}/d1", tree_hash="0" * 64, items=tuple(items)),
    )
    result = LoraTrainer().train(context)
    final = next(one for one in result.weights if one.final)
    (work / final.kohya).replace(done)
    return done


def _with_noise(good: Path, path: Path, seed: int, strength: float) -> Path:
    from safetensors.numpy import load_file, save_file

    random_by = np.random.default_rng(seed)
    tensors = {
        name: (
            tensor
            if tensor.ndim == 0
            else (tensor + strength * tensor.std() * random_by.standard_normal(tensor.shape)).astype(tensor.dtype)
        )
        for name, tensor in sorted(load_file(good).items())
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def render(root: Path, variant: Variant | None, name: str, part: str) -> Pictures:
    """Pictures of a variant, or of the bare base, in the order of :func:`cells_of`; shape (cells, 64, 64, 3)."""
    from assetforge_diffusers.params import RendererParams
    from assetforge_diffusers.renderer import DiffusersRenderer

    work = root / (variant.folder if variant else Path(name) / "base")
    done = work / f"{part}.npz"
    if done.is_file():
        with np.load(done) as saved:
            return saved["pictures"]
    work.mkdir(parents=True, exist_ok=True)
    (work / "cache").mkdir(exist_ok=True)
    renderer = DiffusersRenderer()
    context = FolderContext(workdir=work, cache=work / "cache", params=RendererParams(batch_size=1))
    renderer.open(base(), suite(name).settings, context)
    if variant:
        file = train(root, variant)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        renderer.use([(LoraRef(name=f"{name}/v1", file=file.name, sha256=digest), 1.0)])
    pictures = np.stack(list(renderer.render(cells_of(name, part))))
    renderer.close()
    partial = done.with_suffix(".partial.npz")
    np.savez_compressed(partial, pictures=pictures)
    partial.replace(done)
    return pictures


def _one(job: tuple[Path, Variant | None, str, str]) -> str:
    root, variant, name, part = job
    render(root, variant, name, part)
    return str(variant.folder if variant else f"{name}/base")


def make(root: Path, wanted: Sequence[tuple[Variant | None, str]], part: str, workers: int) -> Iterator[str]:
    """Train and render what is missing; yields what is done.

    Args:
        root: Folder of the population.
        wanted: Variants, or ``None`` and an asset for the bare base.
        part: See :func:`cells_of`.
        workers: Processes; each computes on one core.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    jobs = [(root, variant, name, part) for variant, name in wanted]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_one, jobs)


def everything() -> list[tuple[Variant | None, str]]:
    """All variants, and the bare base for each asset."""
    bases: list[tuple[Variant | None, str]] = [(None, one.name) for one in ASSETS]
    return [*bases, *((variant, variant.asset) for variant in population())]


def members() -> tuple[CastMember, ...]:
    """The assets."""
    return ASSETS
