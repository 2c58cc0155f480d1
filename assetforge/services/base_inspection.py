"""Looking at a base model before anything is trained on it: its family, its native resolution, and whether everything is there."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assetforge.domain.checkpoint_family import CheckpointFacts, read_checkpoint_facts
from assetforge.domain.model_family import (
    FAMILIES,
    component_names,
    family_of_pipeline,
    native_resolution,
    network_names,
)
from assetforge.errors import UsageError
from assetforge.store.weights import read_tensor_table

__all__ = ["Inspection", "inspect_base"]

_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_CONVERT = "Pickles can run code when they are loaded. Convert it to safetensors with the tool that made it."
_LICENCE = re.compile(r"^(license|license_name):[ \t]*['\"]?([^'\"\n]+?)['\"]?[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the files of a base model say.

    Attributes:
        family: Model family.
        resolution: Native resolution in pixels.
        licence: Licence that its model card names; empty when there is no card, or it names none.
    """

    family: str
    resolution: int
    licence: str = ""


def inspect_base(
    path: Path, *, config: Path | None = None, family: str = "", resolution: int | None = None
) -> Inspection:
    """Find out what a base model is, and that it can be opened. Settings and headers are read, never tensors.

    Args:
        path: A folder in diffusers layout, or a single safetensors checkpoint; it exists.
        config: For a single file, a folder in diffusers layout with its settings, tokenizers and the weights that the file lacks.
        family: Family, when the user knows better.
        resolution: Native resolution in pixels, when the user knows better.

    Raises:
        UsageError: It is a pickle, no model, incomplete, or of no family that is known; says which.
    """
    if config is not None and not config.is_dir():
        raise UsageError(f"{config} is no folder.", hint="Name the folder with the settings with --config.")
    if path.is_file():
        return _inspect_checkpoint(path, config, family, resolution)
    if config is not None:
        raise UsageError(f"{path} is a folder, which has its own settings.", hint="Leave --config out.")
    if family and family not in FAMILIES:
        return _foreign(path, family, resolution)
    return _inspect_folder(path, family, resolution)


def _foreign(path: Path, family: str, resolution: int | None) -> Inspection:
    """A plugin's own family may lie on disk as it likes."""
    if resolution is None:
        raise UsageError(
            f"{path} does not say the resolution of a {family} model.", hint="Name it with --resolution, in pixels."
        )
    return Inspection(family=family, resolution=resolution)


def _inspect_folder(
    folder: Path, family: str, resolution: int | None, checkpoint: CheckpointFacts | None = None
) -> Inspection:
    """What a folder is; with ``checkpoint``, what a folder is that completes a single file."""
    index = _index(folder)
    pipeline = index.get("_class_name")
    denoiser_name = "unet" if "unet" in index else "transformer"
    denoiser = _settings(folder / denoiser_name / "config.json")
    found = family_of_pipeline(pipeline, denoiser) if isinstance(pipeline, str) else ""
    if not family and not found:
        raise UsageError(
            f"{folder} is a {pipeline or 'nameless pipeline'}, which is of no known family.",
            hint=f"If its networks are those of one, name it with --family: {', '.join(FAMILIES)}.",
        )
    if checkpoint is not None and found and checkpoint.family and found != checkpoint.family:
        raise UsageError(
            f"{folder} has the settings of a {FAMILIES[found]} model, and the file is {FAMILIES[checkpoint.family]}.",
            hint=f"Name the folder of a {FAMILIES[checkpoint.family]} model with --config.",
        )
    if checkpoint is None:
        _check_weights(folder)
        _check_complete(folder, index, ())
    else:
        _check_complete(folder, index, checkpoint.components or {denoiser_name})
        _check_settings(folder / denoiser_name / "config.json", denoiser, checkpoint)
    return Inspection(
        family=family or found,
        resolution=resolution
        or native_resolution(
            family or found,
            denoiser=denoiser,
            vae=_settings(folder / "vae" / "config.json"),
            scheduler=_settings(folder / "scheduler" / "scheduler_config.json"),
        ),
        # A checkpoint made from the folder's model may have another licence.
        licence=_licence(folder) if checkpoint is None else "",
    )


def _inspect_checkpoint(file: Path, config: Path | None, family: str, resolution: int | None) -> Inspection:
    if file.suffix.lower() in _PICKLES:
        raise UsageError(f"{file} is a pickle, and only safetensors are opened.", hint=_CONVERT)
    facts = read_checkpoint_facts(read_tensor_table(file))
    if facts.refusal:
        raise UsageError(f"{file} {facts.refusal}.", hint="Name the base model itself, in 16 or 32 bits.")
    if family and family not in FAMILIES:
        return _foreign(file, family, resolution)
    if not family and not facts.family:
        raise UsageError(
            f"{file} has tensors of no known family.",
            hint=f"If they are those of one, name it with --family: {', '.join(FAMILIES)}.",
        )
    kind = family or facts.family
    if config is None:
        raise UsageError(
            f"{file} is a single {kind} file, and a single file has no settings and no tokenizers.",
            hint="Register it with `assetforge base add NAME FILE --config FOLDER`, FOLDER being a diffusers folder or hub id of the "
            "family with whatever the file lacks.",
        )
    return _inspect_folder(config, kind, resolution, facts)


def _check_complete(folder: Path, index: Mapping[str, Any], held: Collection[str]) -> None:
    """Everything that the pipeline is made of is there, as safetensors; ``held`` has weights elsewhere."""
    networks = network_names(index)
    for name in component_names(index):
        files = [file for file in (folder / name).glob("*") if file.is_file()]
        missing = f"{folder} is incomplete: it has no {name}"
        if not files:
            raise UsageError(f"{missing}.", hint="Copy or fetch the whole model again.")
        if name not in networks or name in held:
            continue
        if not any(file.suffix == ".safetensors" for file in files):
            pickles = [file for file in files if file.suffix in _PICKLES]
            if pickles:
                raise UsageError(f"{pickles[0]} is a pickle, and only safetensors are opened.", hint=_CONVERT)
            lacking = ", and the single file holds none" if held else ""
            raise UsageError(
                f"{folder / name} has no weights{lacking}.", hint=f"Put the safetensors of its {name} there."
            )
        _check_shards(folder / name)


def _check_shards(folder: Path) -> None:
    for listing in folder.glob("*.safetensors.index.json"):
        weight_map = _settings(listing).get("weight_map")
        shards = sorted(set(weight_map.values())) if isinstance(weight_map, dict) else []
        absent = [shard for shard in shards if not (folder / shard).is_file()]
        if absent:
            raise UsageError(
                f"{folder} is incomplete: {absent[0]} is missing ({len(absent)} of {len(shards)} parts).",
                hint="Copy or fetch the whole model again.",
            )


def _check_settings(file: Path, settings: Mapping[str, Any], checkpoint: CheckpointFacts) -> None:
    """The settings are of the same member of the family as the tensors: FLUX.1 dev or schnell, SD 3.5 medium or large ..."""
    for name, value in checkpoint.settings.items():
        if name in settings and settings[name] != value:
            raise UsageError(
                f"{file} says {name} {settings[name]}, and the single file's tensors say {value}: they are two models of one family.",
                hint="Name the folder of the model that the file was made from with --config.",
            )


def _index(folder: Path) -> dict[str, Any]:
    file = folder / "model_index.json"
    if not file.is_file():
        raise UsageError(
            f"{folder} is not a diffusers model: it has no model_index.json.",
            hint="Name a folder saved with `save_pretrained`, or a safetensors file.",
        )
    return _settings(file)


def _check_weights(folder: Path) -> None:
    if any(folder.rglob("*.safetensors")):
        return
    pickles = sorted(file.name for file in folder.rglob("*") if file.suffix in _PICKLES)
    if pickles:
        raise UsageError(f"{folder} holds no safetensors weights but pickles ({pickles[0]}).", hint=_CONVERT)
    raise UsageError(f"{folder} holds no weights.", hint="Copy or fetch the whole model again.")


def _settings(file: Path) -> dict[str, Any]:
    """A JSON file's object; empty when there is no such file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", hint="Copy or fetch the model again.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file} holds no settings.", hint="Copy or fetch the model again.")
    return found


def _licence(folder: Path) -> str:
    """The licence in the head of the model card, as the hub writes it."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    parts = card.read_text(encoding="utf-8", errors="replace")[:20_000].split("---", 2)
    named = dict(_LICENCE.findall(parts[1])) if len(parts) == 3 and not parts[0].strip() else {}
    licence: str = named.get("license", "")
    return named.get("license_name", licence) if licence in ("", "other") else licence
