"""A base model on disk, whose components are loaded when they are first asked for and not before.

So a run whose pictures and captions are all in the cache never reads the text encoders, and an encoder that has done its work can be let go.
"""

import hashlib
import importlib
import inspect
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file

from assetforge.domain.checkpoint_family import read_checkpoint_facts
from assetforge.errors import NotFoundError, UsageError
from assetforge.store.weights import read_tensor_table
from assetforge_diffusers.attention import straighten
from assetforge_diffusers.loading import align_weights, check_weights_file, weights_variant

__all__ = ["BaseFiles"]

_SKIPPED = {"safety_checker", "feature_extractor", "image_encoder", "image_processor"}
_DIGESTS = "component-digests"


class BaseFiles:
    """The components of one base model by name: ``unet``, ``vae``, ``tokenizer``, ``scheduler`` ...

    Args:
        path: A folder in diffusers layout, or a single safetensors checkpoint.
        pipeline: Name of its pipeline class in diffusers.
        dtype: Number format of the weights; the autoencoder is always loaded in fp32, where half precision overflows.
        config: For a single file: a diffusers folder with its settings, tokenizers, and whatever weights the file lacks.
        cache: Folder where hashes of big files are remembered; ``None`` hashes anew.

    Raises:
        NotFoundError: There is no model there.
        UsageError: A single file has no folder with settings, or is no safetensors file.
    """

    def __init__(
        self,
        path: Path,
        pipeline: str,
        dtype: torch.dtype = torch.float32,
        *,
        config: Path | None = None,
        cache: Path | None = None,
    ) -> None:
        self.path, self.dtype, self.pipeline_class = path, dtype, pipeline
        self._cache = cache
        self._loaded: dict[str, Any] = {}
        self._single = path if path.is_file() else None
        if self._single is not None:
            check_weights_file(path)
            if config is None:
                raise UsageError(
                    f"{path.name} is a single file without settings.",
                    hint="Register it with `assetforge base add NAME FILE --config FOLDER`, where FOLDER is its diffusers layout.",
                )
        # What the file holds comes from the file, whatever else lies in the folder with the settings.
        self._held = (
            read_checkpoint_facts(read_tensor_table(path)).components if self._single is not None else frozenset[str]()
        )
        self.folder = config if self._single is not None and config is not None else path
        index = self.folder / "model_index.json"
        if not index.is_file():
            raise NotFoundError(
                f"{self.folder} is not a pipeline folder: it has no model_index.json.",
                hint="Point the base model at a diffusers folder.",
            )
        described = json.loads(index.read_text(encoding="utf-8"))
        self._classes: dict[str, tuple[str, str]] = {
            name: (value[0], value[1])
            for name, value in described.items()
            if isinstance(value, list) and value[0] is not None and name not in _SKIPPED
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components."""
        return tuple(self._classes)

    def has(self, name: str) -> bool:
        """Whether the base has a component of that name."""
        return name in self._classes

    def config(self, name: str) -> dict[str, Any]:
        """Settings of a component, read without loading it."""
        for file in ("config.json", "scheduler_config.json", "tokenizer_config.json"):
            if (self.folder / name / file).is_file():
                found: dict[str, Any] = json.loads((self.folder / name / file).read_text(encoding="utf-8"))
                return found
        raise NotFoundError(f"{self.folder} has no settings for its {name}.", hint="Copy the whole base model again.")

    def load(self, name: str) -> Any:
        """A component on the CPU, frozen and in evaluation mode when it is a network; the same object every time.

        Raises:
            NotFoundError: The base has no such component, or its weights are missing.
            UsageError: Its weights are pickled or damaged.
        """
        if name not in self._loaded:
            self._loaded[name] = self._open(name)
        return self._loaded[name]

    def forget(self, *names: str) -> None:
        """Let components go, so that their memory can be used for something else; asked for again, they are loaded again."""
        for name in names:
            self._loaded.pop(name, None)

    def pipeline(self, only: Collection[str] | None = None) -> Any:
        """The pipeline of diffusers over all components, without safety checker; with ``only``, over those alone, for loading LoRAs into them."""
        kind = getattr(diffusers, self.pipeline_class)
        arguments = inspect.signature(kind.__init__).parameters
        # A base may lack a component, such as Stable Diffusion 3 its third text encoder; the pipeline wants to be told.
        missing = (name for name, one in arguments.items() if name != "self" and one.default is inspect.Parameter.empty)
        parts: dict[str, Any] = {name: None for name in (*missing, *_SKIPPED) if name in arguments}
        parts |= {name: self.load(name) if only is None or name in only else None for name in self.names}
        if "requires_safety_checker" in arguments:
            parts["requires_safety_checker"] = False
        built = kind.from_pretrained(self.folder, **parts, local_files_only=True)
        built.set_progress_bar_config(disable=True)
        return built

    def digest(self, name: str) -> str:
        """SHA-256 over the settings and weights of a component as they lie on disk; names of tensors and files included."""
        folder = self.folder / name
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.is_file() and file.suffix in {".json", ".jinja", ".txt", ".model", ".safetensors"}
        )
        if self._single is not None and name in self._held:
            files = [file for file in files if file.suffix != ".safetensors"] + [self._single]
        parts = [f"{file.name} {self._file_digest(file)}" for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _file_digest(self, file: Path) -> str:
        stat = file.stat()
        known = None
        if self._cache is not None:
            signature = hashlib.sha256(f"{file.resolve()}/{stat.st_size}/{stat.st_mtime_ns}".encode()).hexdigest()
            known = self._cache / _DIGESTS / signature
            if known.is_file():
                return known.read_text(encoding="ascii")
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if known is not None:
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(found, encoding="ascii")
        return found

    def _open(self, name: str) -> Any:
        if name not in self._classes:
            raise NotFoundError(f"The base model {self.path} has no {name}.", hint="Take the base model of its family.")
        library, class_name = self._classes[name]
        module = importlib.import_module("diffusers" if library != "transformers" else library)
        kind = getattr(module, class_name)
        if "okenizer" in class_name or "rocessor" in class_name:
            return kind.from_pretrained(self.folder / name, local_files_only=True)
        if "Scheduler" in class_name:
            return kind.from_pretrained(self.folder, subfolder=name, local_files_only=True)
        network = self._open_network(name, kind)
        network.requires_grad_(requires_grad=False).eval()
        align_weights(network)
        straighten(network)
        return network

    def _open_network(self, name: str, kind: Any) -> Any:
        dtype = torch.float32 if name == "vae" else self.dtype
        if self._single is not None and name in self._held:
            settings = {"config": str(self.folder), "subfolder": name, "torch_dtype": dtype, "local_files_only": True}
            if hasattr(kind, "from_single_file"):
                return kind.from_single_file(str(self._single), **settings)
            return create_diffusers_clip_model_from_ldm(kind, load_file(self._single), **settings)
        return kind.from_pretrained(
            self.folder,
            subfolder=name,
            dtype=dtype,
            variant=weights_variant(self.folder, name),
            use_safetensors=True,
            local_files_only=True,
        )
