"""Where the weights of a metric lie, and that they are files which can be loaded safely. Imports no framework.

A metric looks into its own folder, ``<user data>/models/<folder>/`` (``ASSETFORGE_VISION_MODELS`` names another place for all of them), then into the cache of
Hugging Face. Nothing is ever downloaded. Only safetensors and ONNX files are opened: a pickle or a TorchScript archive can run code when it is loaded.
"""

import hashlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from assetforge.errors import AssetForgeError, NotFoundError, UsageError
from assetforge.paths import user_data_dir
from assetforge.store.hub_cache import find_snapshot, is_hub_id
from assetforge.store.weights import read_tensor_table

__all__ = ["WEIGHTS", "Weights", "check_file", "fingerprint", "locate", "models_dir", "reason"]

_READ = frozenset({".json", ".model", ".safetensors", ".txt"})
"""Endings of what transformers reads from a model's folder: settings, words, and weights in one file or in parts."""

_PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".torchscript", ".ts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What one metric needs on disk.

    Attributes:
        folder: Name of its folder; metrics of one model share it.
        files: What has to lie there; ``a|b`` is either.
        hub: Id of a model in the cache of Hugging Face that has these files; empty when there is none.
        hub_folder: Folder of that model in which they lie.
        source: Who publishes them, for people.
        packages: Python packages that the metric runs with.
    """

    folder: str
    files: tuple[str, ...]
    hub: str = ""
    hub_folder: str = ""
    source: str
    packages: tuple[str, ...]

    @property
    def home(self) -> Path:
        """Where a user puts them."""
        return models_dir() / self.folder


_TORCH = ("torch", "transformers", "safetensors")
_ONNX = ("onnxruntime",)
_NETWORK = ("config.json", "model.safetensors|model.safetensors.index.json")
_CLIP = "openai/clip-vit-large-patch14"
_SIGLIP = "google/siglip-base-patch16-224"
_CCIP = "ccip-caformer-24-randaug-pruned"

WEIGHTS = {
    "clip-image": Weights(folder="clip", files=_NETWORK, hub=_CLIP, source=f"{_CLIP} on Hugging Face", packages=_TORCH),
    "clip-prompt": Weights(
        folder="clip",
        files=(*_NETWORK, "tokenizer.json|vocab.json"),
        hub=_CLIP,
        source=f"{_CLIP} on Hugging Face",
        packages=_TORCH,
    ),
    "siglip-image": Weights(
        folder="siglip", files=_NETWORK, hub=_SIGLIP, source=f"{_SIGLIP} on Hugging Face", packages=_TORCH
    ),
    "siglip-prompt": Weights(
        folder="siglip",
        files=(*_NETWORK, "tokenizer.json"),
        hub=_SIGLIP,
        source=f"{_SIGLIP} on Hugging Face",
        packages=_TORCH,
    ),
    "dinov2": Weights(
        folder="dinov2",
        files=_NETWORK,
        hub="facebook/dinov2-base",
        source="facebook/dinov2-base on Hugging Face",
        packages=_TORCH,
    ),
    "face-identity": Weights(
        folder="face-identity",
        files=("det_10g.onnx", "w600k_r50.onnx"),
        source="the pack buffalo_l of InsightFace",
        packages=_ONNX,
    ),
    "ccip": Weights(
        folder="ccip",
        files=("model_feat.onnx",),
        hub="deepghs/ccip_onnx",
        hub_folder=_CCIP,
        source=f"deepghs/ccip_onnx on Hugging Face, folder {_CCIP}",
        packages=_ONNX,
    ),
    "csd": Weights(
        folder="csd",
        files=("model.safetensors",),
        hub="yuxi-liu-wired/CSD",
        source="yuxi-liu-wired/CSD on Hugging Face",
        packages=_TORCH,
    ),
    "lpips": Weights(
        folder="lpips",
        files=("model.safetensors",),
        source="the package lpips and torchvision, converted once as the README of assetforge-vision says",
        packages=("torch", "safetensors"),
    ),
    "sscd": Weights(
        folder="sscd",
        files=("model.safetensors",),
        source="sscd_disc_mixup of facebookresearch/sscd-copy-detection, converted once as the README of assetforge-vision says",
        packages=("torch", "safetensors"),
    ),
}
"""By metric."""


def models_dir() -> Path:
    """The folder of all weights: ``ASSETFORGE_VISION_MODELS``, else ``models`` in the user's data folder."""
    configured = os.environ.get("ASSETFORGE_VISION_MODELS")
    return Path(configured).expanduser() if configured else user_data_dir() / "models"


def reason(metric: str) -> str:
    """Why a metric cannot run here, in one sentence; empty when it can."""
    packages = [package for package in WEIGHTS[metric].packages if find_spec(package) is None]
    if packages:
        return f"{metric} needs the Python packages {', '.join(packages)}: install assetforge-vision anew."
    try:
        locate(metric)
    except AssetForgeError as error:
        return error.message
    return ""


def locate(metric: str, chosen: str = "") -> dict[str, Path]:
    """The files of a metric: what :class:`Weights` asks for, with the path of each.

    Args:
        metric: Name of the metric.
        chosen: What the user wants instead of the usual places: a folder, a file when the metric has one only, or a hub id.

    Raises:
        NotFoundError: They are not here; the message says what is needed and where to put it.
        UsageError: What lies there is a pickle, TorchScript, or damaged.
    """
    wanted = WEIGHTS[metric]
    if chosen:
        return _chosen(metric, wanted, chosen)
    home, cached = wanted.home, _snapshot(wanted)
    for folder in (home, cached):
        found = _files(folder, wanted) if folder is not None else {}
        if len(found) == len(wanted.files):
            return _checked(found)
    raise NotFoundError(_sentence(metric, wanted, cached), hint="`assetforge vision weights` lists them all.")


def fingerprint(metric: str, chosen: str = "") -> str:
    """What tells the files of a metric from others: names, sizes and times of all that it reads. No file is opened but for the headers that :func:`locate` checks.

    Args:
        metric: Name of the metric.
        chosen: See :func:`locate`.

    Raises:
        NotFoundError: They are not here.
        UsageError: What lies there cannot be used.
    """
    found = locate(metric, chosen)
    files = {*found.values()}
    if "config.json" in found:
        folder = found["config.json"].parent
        files |= {file for file in folder.iterdir() if file.suffix.lower() in _READ and file.is_file()}
    told = hashlib.sha256()
    for file in sorted(files):
        # The time of the last change of state as well: copying with times kept, as rsync and tar do, leaves the other one as it was.
        at = file.stat()
        told.update(f"{file.name}\0{at.st_size}\0{at.st_mtime_ns}\0{at.st_ctime_ns}\n".encode())
    return told.hexdigest()


def check_file(file: Path) -> Path:
    """Return ``file`` when it can be loaded without running code that it brings.

    Raises:
        NotFoundError: It does not exist.
        UsageError: It is a pickle, TorchScript, damaged, or of another kind.
    """
    if not file.is_file():
        raise NotFoundError(f"The weights {file} do not exist.", hint="Check the path, or restore the file.")
    if file.suffix.lower() in _PICKLES:
        raise UsageError(
            f"{file} is a pickle or TorchScript, which can run code when it is loaded; only safetensors and ONNX are opened.",
            hint="Convert it once, as the README of assetforge-vision says.",
        )
    if file.suffix.lower() == ".safetensors":
        read_tensor_table(file)
    elif file.suffix.lower() not in (".onnx", ".json"):
        raise UsageError(f"{file} is no weights file: only safetensors and ONNX are opened.")
    return file


def _chosen(metric: str, wanted: Weights, chosen: str) -> dict[str, Path]:
    path = Path(chosen).expanduser()
    if path.is_file() and len(wanted.files) == 1:
        return {wanted.files[0]: check_file(path)}
    if not path.is_dir() and is_hub_id(chosen) and not path.is_absolute():
        path = find_snapshot(chosen).path
        path = path / wanted.hub_folder if (path / wanted.hub_folder).is_dir() else path
    found = _files(path, wanted)
    if len(found) < len(wanted.files):
        pickles = _pickled(path)
        if pickles:
            check_file(pickles[0])
        raise NotFoundError(
            f"{path} lacks {_listed(wanted, found)}, which {metric} needs.", hint=f"They come from {wanted.source}."
        )
    return _checked(found)


def _snapshot(wanted: Weights) -> Path | None:
    if not wanted.hub:
        return None
    try:
        return find_snapshot(wanted.hub).path / wanted.hub_folder
    except NotFoundError:
        return None


def _files(folder: Path, wanted: Weights) -> dict[str, Path]:
    found = {}
    for names in wanted.files:
        there = [folder / name for name in names.split("|") if (folder / name).is_file()]
        if there:
            found[names] = there[0]
    return found


def _checked(found: dict[str, Path]) -> dict[str, Path]:
    for file in found.values():
        check_file(file)
    return found


def _pickled(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _PICKLES)


def _listed(wanted: Weights, found: dict[str, Path]) -> str:
    missing = [names.partition("|")[0] for names in wanted.files if names not in found]
    return " and ".join((", ".join(missing[:-1]), missing[-1])) if len(missing) > 1 else missing[0]


def _sentence(metric: str, wanted: Weights, cached: Path | None) -> str:
    home = wanted.home
    said = f"{metric} needs {_listed(wanted, _files(home, wanted))} in {home} (from {wanted.source})"
    if wanted.hub:
        said += f", or {wanted.hub} in the Hugging Face cache (`hf download {wanted.hub}`)"
    pickles = [file for folder in (home, cached) if folder is not None for file in _pickled(folder)]
    if pickles:
        said += f"; {pickles[0]} is a pickle or TorchScript, which is never loaded"
    return f"{said}."
