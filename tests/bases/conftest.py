"""Models small enough to write by hand: a safetensors file is eight bytes of length, a JSON header, and the bytes of its tensors."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from assetforge.extension.registry import reset_registry

Shapes = Mapping[str, tuple[int, ...]]

UNET = ["diffusers", "UNet2DConditionModel"]
VAE = ["diffusers", "AutoencoderKL"]
CLIP = ["transformers", "CLIPTextModel"]


@pytest.fixture(autouse=True)
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The hub's cache is the test's own, and the example plugin the only one; returns the folder of the cache."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    reset_registry()
    yield tmp_path / "hf" / "hub"
    reset_registry()


@pytest.fixture
def write_tensors() -> Callable[..., Path]:
    """A function ``write_tensors(path, {name: shape}, dtype="F16")`` that writes a safetensors file of zeros."""

    def write(path: Path, shapes: Shapes, dtype: str = "F16") -> Path:
        header: dict[str, Any] = {}
        end = 0
        for name, shape in shapes.items():
            size = math.prod(shape) * {"F16": 2, "F32": 4, "U8": 1}[dtype]
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(header).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + end)
        return path

    return write


@pytest.fixture
def write_folder(write_tensors: Callable[..., Path]) -> Callable[..., Path]:
    """A function ``write_folder(path, pipeline=..., settings={"unet": {...}}, without=("vae",))`` that writes a diffusers folder of SD 1.x form."""

    def write(
        path: Path,
        pipeline: str = "StableDiffusionPipeline",
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        components: Mapping[str, Any] | None = None,
        without: tuple[str, ...] = (),
    ) -> Path:
        names = components or {
            "unet": UNET,
            "vae": VAE,
            "text_encoder": CLIP,
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "safety_checker": [None, None],
        }
        path.mkdir(parents=True, exist_ok=True)
        index = {"_class_name": pipeline, "_diffusers_version": "0.42.1", **names}
        (path / "model_index.json").write_text(json.dumps(index))
        files = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}
        for name, (library, _class) in names.items():
            if library is None:
                continue
            (path / name).mkdir(exist_ok=True)
            (path / name / files.get(name, "config.json")).write_text(json.dumps((settings or {}).get(name, {})))
            if name not in files and name not in without:
                write_tensors(path / name / "diffusion_pytorch_model.safetensors", {f"{name}.weight": (2, 3)})
        return path

    return write


@pytest.fixture
def write_snapshot(hub: Path) -> Callable[..., Path]:
    """A function ``write_snapshot(folder, "org/name", commit, branch="main")`` that puts a folder into the hub's cache as its tools do, with links."""

    def write(folder: Path, repo: str, commit: str, branch: str = "main") -> Path:
        home = hub / f"models--{repo.replace('/', '--')}"
        snapshot = home / "snapshots" / commit
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = snapshot / file.relative_to(folder)
            blob = home / "blobs" / hashlib.sha256(f"{commit}/{target}".encode()).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(file.read_bytes())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(blob)
        if branch:
            (home / "refs" / branch).parent.mkdir(parents=True, exist_ok=True)
            (home / "refs" / branch).write_text(commit)
        return snapshot

    return write
