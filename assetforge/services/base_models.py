"""Base models: found by name or path, known by digest."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from assetforge.api.job import BaseRef
from assetforge.db.models import BaseModelRecord
from assetforge.durable import write_atomic
from assetforge.errors import NotFoundError, PluginError, StorageError, UsageError
from assetforge.extension.registry import Registered, get_registry, load
from assetforge.paths import user_cache_dir

__all__ = ["BaseModel", "base_ref", "find_base", "locate_base", "model_digest", "record_base"]

_MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model"})
_PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_FAMILY_BY_PIPELINE = {"StableDiffusionPipeline": "sd15"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A base model on this machine.

    Attributes:
        name: Registered name, or the folder's name.
        family: Model family.
        path: Folder in diffusers layout.
        digest: SHA-256 over its files, see :func:`model_digest`.
        resolution: Native resolution in pixels.
        licence: Licence of the weights.
    """

    name: str
    family: str
    path: Path
    digest: str
    resolution: int
    licence: str = ""


def find_base(name: str) -> BaseModel:
    """A base model by the name a plugin registered it under, or by the path of a diffusers folder.

    Raises:
        NotFoundError: Neither exists.
        UsageError: The folder is not a model that can be trained on.
    """
    path = Path(name).expanduser()
    if "/" in name and path.is_dir():
        return _base_in_folder(path.resolve())
    registered = get_registry().base_model(name)
    spec = registered.spec
    path = locate_base(name)
    return BaseModel(
        name=spec.name,
        family=spec.family,
        path=path,
        digest=model_digest(path),
        resolution=spec.resolution,
        licence=spec.licence,
    )


def locate_base(name: str) -> Path:
    """Where a registered base model lies on this machine.

    Raises:
        NotFoundError: It is not registered, or its files are not here.
        PluginError: The plugin that registered it cannot find it.
    """
    registered: Registered[Any] = get_registry().base_model(name)
    locate: Callable[[], Path] = load(registered.spec.locate)
    try:
        path = Path(locate())
    except Exception as error:
        raise PluginError(
            f"The plugin {registered.plugin} could not find its base model {name!r}: {error}",
            hint="`assetforge doctor` checks the plugins.",
        ) from error
    if not path.exists():
        raise NotFoundError(
            f"The base model {name!r} should lie in {path}, and there is nothing.",
            hint=f"Reinstall {registered.plugin}.",
        )
    return path


def base_ref(base: BaseModel) -> BaseRef:
    """The base model as a job names it."""
    return BaseRef(
        name=base.name, family=base.family, digest=base.digest, path=str(base.path), resolution=base.resolution
    )


def record_base(session: Session, base: BaseModel) -> int:
    """The row id of a base model, added when it is new to the film."""
    row = session.exec(select(BaseModelRecord).where(BaseModelRecord.digest == base.digest)).first()
    if row is None:
        row = BaseModelRecord(
            name=base.name,
            family=base.family,
            digest=base.digest,
            path=str(base.path),
            resolution=base.resolution,
            licence=base.licence,
        )
    row.path = str(base.path)
    session.add(row)
    session.flush()
    if row.id is None:
        raise StorageError("The database gave a base model no id.")
    return row.id


def model_digest(path: Path) -> str:
    """Identity of a model: SHA-256 over the sorted names and hashes of its files; for a single file, of its bytes.

    Hashes are remembered in the user's cache by path, size and time of change, so that many gigabytes are read once.
    """
    files = _model_files(path)
    signature = hashlib.sha256(
        repr([(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]).encode()
    ).hexdigest()
    cache = user_cache_dir() / "model-digests" / f"{signature}.json"
    if cache.is_file():
        return str(json.loads(cache.read_text(encoding="utf-8"))["digest"])
    if path.is_file():
        digest = _file_digest(path)
    else:
        lines = [f"{file.relative_to(path).as_posix()} {_file_digest(file)}" for file in files]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(cache, json.dumps({"path": str(path), "digest": digest}).encode())
    return digest


def _model_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in _MODEL_SUFFIXES and file.is_file())


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _base_in_folder(path: Path) -> BaseModel:
    index = path / "model_index.json"
    if not index.is_file():
        raise UsageError(
            f"{path} is not a diffusers model: it has no model_index.json.",
            hint="Name a folder saved with `save_pretrained`.",
        )
    pipeline = json.loads(index.read_text(encoding="utf-8")).get("_class_name", "")
    family = _FAMILY_BY_PIPELINE.get(pipeline)
    if family is None:
        known = ", ".join(_FAMILY_BY_PIPELINE)
        raise UsageError(
            f"{path} is a {pipeline or 'nameless pipeline'}, which no trainer knows yet.", hint=f"Known are: {known}."
        )
    if not any(path.rglob("*.safetensors")):
        pickles = [file.name for file in path.rglob("*") if file.suffix in _PICKLE_SUFFIXES]
        raise UsageError(
            f"{path} holds no safetensors weights{f' but pickles ({pickles[0]})' if pickles else ''}.",
            hint="Only safetensors are loaded: convert the model first.",
        )
    unet = json.loads((path / "unet" / "config.json").read_text(encoding="utf-8"))
    vae = json.loads((path / "vae" / "config.json").read_text(encoding="utf-8"))
    factor = 2 ** (len(vae.get("block_out_channels", [1])) - 1)
    return BaseModel(
        name=path.name,
        family=family,
        path=path,
        digest=model_digest(path),
        resolution=int(unet.get("sample_size", 64)) * factor,
    )
