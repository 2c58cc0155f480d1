"""How much memory a training step needs, computed before anything of it is allocated.

    need = base weights + adapters + optimizer state + the step at its worst moment + workspace

The first three are exact, from the networks themselves. The step is not guessed either: one forward and backward pass of the real network, at the largest
bucket and batch, is run over tensors that have a shape and no memory (torch's FakeTensorMode) while every storage is counted from its making to its
end. The worst moment is then split for people into what is kept for the backward pass and the rest, which is gradients and temporaries. Operators choose
their own scratch memory, which no count sees; for cuBLAS it is known.
"""

import copy
import json
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F  # noqa: N812
from peft.tuners.tuners_utils import BaseTunerLayer
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_iter

from assetforge.errors import AssetForgeError, PluginError
from assetforge_diffusers.cache import digest_of
from assetforge_diffusers.families.base import Family
from assetforge_diffusers.graphs import are_recorded
from assetforge_diffusers.machine import Machine
from assetforge_diffusers.material import Batch
from assetforge_diffusers.networks import adapt, checkpoint_gradients, denoiser_config, text_config
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.quantize import StoredConv2d, StoredLinear, offload_base, quantize_base

__all__ = ["Estimate", "Estimator", "gib", "memory_limit"]

_VERSION = 2
_CUDA_GRAIN = 512
_CUDA_SHARE = 0.95
"""What of a GPU's memory can be used before its allocator has no piece left that is long enough."""
_CUBLAS, _CUBLAS_HOPPER = 8_519_680, 33_554_432  # PyTorch's defaults for one thread and stream
_SHAPELESS = {
    "optimizer": "adamw",
    "ema": 0.0,
    "learning_rate": 1e-4,
    "compile": False,
    "cuda_graphs": False,
    "gpus": 1,
    "fit_memory": "ask",
    "memory_limit": 0.0,
    "steps": 0,
}
"""Parameters that change nothing about a forward and backward pass, and among them those that the ladder changes."""
_EIGHT_BIT_LEAST, _EIGHT_BIT_BLOCK, _EIGHT_BIT_TABLES = 4096, 256, 2048


def gib(size: float) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 0.1 * 2**30 else f"{size / 2**20:.1f} MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The need of a training step in bytes.

    Attributes:
        weights: The frozen networks on the device.
        adapters: What is trained, fp32.
        gradients: Of all adapters; part of what the worst moment may hold.
        optimizer: The optimizer's state and the moving average.
        saved: Kept from the forward pass for the backward pass.
        transient: What the worst moment holds beyond ``saved``: gradients made so far, temporaries, results.
        workspace: Scratch memory of the libraries.
    """

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    saved: int
    transient: int
    workspace: int

    @property
    def total(self) -> int:
        """All of it; gradients are in ``transient``."""
        return self.weights + self.adapters + self.optimizer + self.saved + self.transient + self.workspace

    def describe(self) -> str:
        """One sentence."""
        return (
            f"A training step needs about {gib(self.total)}: {gib(self.weights)} for the base, "
            f"{gib(self.adapters + self.optimizer)} for the adapters and their optimizer, {gib(self.saved)} kept from the forward pass, "
            f"{gib(self.transient + self.workspace)} more at the worst moment."
        )


def memory_limit(params: LoraTrainerParams, device: torch.device, modules: Iterable[torch.nn.Module] = ()) -> int:
    """Bytes that a run may use: ``params.memory_limit``, or what is free and what this process holds for it already.

    Args:
        params: The run's.
        device: Where it runs.
        modules: Networks that are loaded already and counted in the need.
    """
    if params.memory_limit:
        return int(params.memory_limit * 2**30)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int((free + torch.cuda.memory_reserved(device)) * _CUDA_SHARE)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    held = sum(_size(tensor) for module in modules for tensor in _tensors(module) if tensor.device.type == "cpu")
    return min(psutil.virtual_memory().available, _cgroup_free()) + held


def _cgroup_free() -> int:
    """What the control group of a container leaves; a large number without one."""
    try:
        root = Path("/sys/fs/cgroup")
        most = (root / "memory.max").read_text(encoding="ascii").strip()
        used = int((root / "memory.current").read_text(encoding="ascii"))
        facts = dict(line.split() for line in (root / "memory.stat").read_text(encoding="ascii").splitlines())
        return sys.maxsize if most == "max" else int(most) - used + int(facts.get("inactive_file", 0))
    except (OSError, ValueError):
        return sys.maxsize


@dataclass(frozen=True, slots=True)
class _Pass:
    """What one forward and backward pass took."""

    weights: int
    trained: tuple[torch.Size, ...]
    saved: int
    peak: int

    @staticmethod
    def read(file: Path) -> "_Pass | None":
        """What was found before, in this or another run; ``None`` when it was not, or cannot be read."""
        try:
            kept = json.loads(file.read_text(encoding="ascii"))
            trained = tuple(torch.Size(shape) for shape in kept["trained"])
            return _Pass(int(kept["weights"]), trained, int(kept["saved"]), int(kept["peak"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, file: Path) -> None:
        """Keep it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(self)), encoding="ascii")
        partial.replace(file)


class Estimator:
    """Computes the need of a run under given parameters.

    Everything happens on copies without memory: the networks are left as they are, adapted or not, quantised or not, on whatever device they lie.

    Args:
        family: The opened base; its networks are loaded where they are not.
        batch: Views of the largest bucket, at least one; only shapes are looked at.
        machine: Where it will run.
        cache: Folder where passes are remembered across runs.
    """

    def __init__(self, family: Family, batch: Batch, machine: Machine, cache: Path | None = None) -> None:
        self._family, self._batch, self._machine, self._cache = family, batch, machine, cache
        self._known: dict[str, _Pass] = {}

    def __call__(self, params: LoraTrainerParams) -> Estimate:
        """The need under ``params``; passes that differ in nothing that matters are run once.

        Raises:
            PluginError: The pass cannot be run without memory.
            UsageError: The base cannot be adapted or quantised so.
        """
        shaped = params.model_copy(update={"accumulate": min(params.accumulate, 2), **_SHAPELESS})
        key = digest_of({**shaped.model_dump(mode="json"), **self._circumstances()})
        if key not in self._known:
            file = self._cache / f"{key}.json" if self._cache else None
            found = _Pass.read(file) if file else None
            if found is None:
                found = self._computed(shaped)
                if file:
                    found.write(file)
            self._known[key] = found
        found = self._known[key]
        count = sum(shape.numel() for shape in found.trained)
        optimizer, update = _optimizer_bytes(params, found.trained)
        held = 4 * count if are_recorded(params, self._machine) else 0  # gradients stay where they were recorded
        worst = max(found.peak + held, found.saved, 4 * count + update)
        return Estimate(
            weights=found.weights,
            adapters=4 * count,
            gradients=4 * count,
            optimizer=optimizer + (4 * count if params.ema else 0),
            saved=found.saved,
            transient=worst - found.saved,
            workspace=_workspace(self._machine.device),
        )

    def _circumstances(self) -> dict[str, Any]:
        """Whatever else decides what a pass takes."""
        family, machine = self._family, self._machine
        shapes = self._batch.map(lambda tensor: torch.tensor(tensor.shape[1:]))
        return {
            "code": [_VERSION, *(version(name) for name in ("torch", "diffusers", "transformers", "peft"))],
            "family": family.name,
            "networks": [
                family.base.config(name)
                for name in (family.denoiser_name, *family.encoder_names)
                if family.base.has(name)
            ],
            "machine": [machine.device.type, machine.precision],
            "batch": repr(shapes),
        }

    def _computed(self, params: LoraTrainerParams) -> _Pass:
        try:
            return self._pass(params)
        except AssetForgeError:
            raise
        except Exception as error:  # whatever a network does that tensors without values cannot follow
            raise PluginError(
                f"The memory that training needs cannot be computed beforehand: {type(error).__name__}: {error}",
                hint="Watch the memory of the first steps.",
            ) from error

    def _pass(self, params: LoraTrainerParams) -> _Pass:
        device, grain = self._machine.device, _CUDA_GRAIN if self._machine.device.type == "cuda" else 1
        with torch.random.fork_rng(devices=()), _caches_emptied():
            sources = self._networks(params)
            with FakeTensorMode(allow_non_fake_inputs=True):
                modules = {name: _copy_without_memory(module, device) for name, module in sources.items()}
                self._prepare(modules, params)
                family = type(self._family)(_Staged(self._family.base, modules))  # type: ignore[arg-type]
                counter = _Counter(modules.values(), grain)
                return self._count(family, modules, counter, params)

    def _count(
        self, family: Family, modules: Mapping[str, Any], counter: "_Counter", params: LoraTrainerParams
    ) -> _Pass:
        for _ in range(params.accumulate):
            counter.forget_kept()
            with counter, self._machine.computing(params.network):
                with torch.autograd.graph.saved_tensors_hooks(counter.keep, lambda tensor: tensor):
                    loss = _loss(family, self._batch, params.batch_size, self._machine.device)
                saved = counter.kept
                loss.backward()
            del loss
        weights = sum(counter.size(tensor) for module in modules.values() for tensor in _resident(module))
        trained = [p.shape for module in modules.values() for p in module.parameters() if p.requires_grad]
        return _Pass(weights, tuple(trained), saved, counter.peak)

    def _networks(self, params: LoraTrainerParams) -> dict[str, Any]:
        """What is on the device while training, adapted and dense, on the meta device."""
        family, modules = self._family, {}
        encoders = [name for name in family.adaptable_encoders if params.text_encoder and family.base.has(name)]
        for name in (family.denoiser_name, *encoders):
            module = _copy_without_memory(family.base.load(name), torch.device("meta"))
            config = denoiser_config if name == family.denoiser_name else text_config
            adapted = any(isinstance(layer, BaseTunerLayer) for layer in module.modules())
            if not adapted:
                adapt(module, config(family.layers, params))
            modules[name] = module
        return modules

    def _prepare(self, modules: Mapping[str, Any], params: LoraTrainerParams) -> None:
        for module in modules.values():
            if params.quantize != "none":
                quantize_base(module, params.quantize)
            if params.offload:
                offload_base(module, self._machine.device)
            if any(parameter.requires_grad for parameter in module.parameters()):
                module.train()
                checkpoint_gradients(module, on=params.gradient_checkpointing)


class _Staged:
    """A base model with other networks under the same names; what else is loaded now, is loaded with its memory."""

    def __init__(self, base: Any, modules: Mapping[str, Any]) -> None:
        self._base, self._modules = base, modules

    def load(self, name: str) -> Any:
        if name in self._modules:
            return self._modules[name]
        with _disable_current_modes():
            return self._base.load(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


def _loss(family: Family, batch: Batch, size: int, device: torch.device) -> torch.Tensor:
    """The loss of a batch of ``size`` views, computed as the training loop does."""

    def like(tensor: torch.Tensor) -> torch.Tensor:
        return torch.zeros((size, *tensor.shape[1:]), dtype=tensor.dtype, device=device)

    moments, geometry = like(batch.moments), like(batch.geometry)
    if batch.told is not None:
        told: Mapping[str, torch.Tensor] = {name: like(tensor) for name, tensor in batch.told.items()}
    else:
        told = family.encode_tokens({name: like(tensor) for name, tensor in batch.tokens.items()})
    latents = family.latents(moments, torch.zeros_like(moments.chunk(2, dim=1)[0]))
    noise = torch.zeros_like(latents)
    answer = family.predict(latents + noise, family.time_at(0.5, device).expand(size), told, geometry)
    error = F.mse_loss(answer.float(), noise - latents, reduction="none")
    if batch.mask is not None:
        error = error * like(batch.mask)
    return error.flatten(1).mean(1).mean()


class _Counter(TorchDispatchMode):
    """Counts the bytes of all storages that operators make, as long as they live.

    Args:
        modules: Networks whose own storages are not counted.
        grain: What the allocator rounds sizes up to.
    """

    def __init__(self, modules: Iterable[torch.nn.Module], grain: int) -> None:
        super().__init__()
        self._grain, self._alive, self._now = grain, dict[int, Any](), 0
        self._own = {_key(tensor) for module in modules for tensor in _tensors(module)}
        self._kept: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor)
        return result

    def size(self, tensor: torch.Tensor) -> int:
        """Bytes of a tensor's storage, as the allocator gives them out."""
        return _size(tensor, self._grain)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor that is kept for the backward pass."""
        if _key(tensor) not in self._own:
            self._kept[_key(tensor)] = self.size(tensor)
        return tensor

    def forget_kept(self) -> None:
        """Begin another pass."""
        self._kept.clear()

    @property
    def kept(self) -> int:
        """Bytes kept for the backward pass, every storage once."""
        return sum(self._kept.values())

    def _see(self, tensor: torch.Tensor) -> None:
        key = _key(tensor)
        if key in self._alive or key in self._own:
            return
        size = self.size(tensor)

        def gone(_: Any) -> None:
            self._now -= size
            del self._alive[key]
            self._kept.pop(key, None)  # another storage may get its name

        self._alive[key] = weakref.ref(tensor.untyped_storage(), gone)
        self._now += size
        self.peak = max(self.peak, self._now)


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - the only name that a storage keeps under fake tensors


def _size(tensor: torch.Tensor, grain: int = 1) -> int:
    return -(-tensor.untyped_storage().nbytes() // grain) * grain


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _resident(module: torch.nn.Module) -> list[torch.Tensor]:
    """What of a frozen network lies on the device, shared storages once."""
    away = {
        _key(tensor)
        for layer in module.modules()
        if isinstance(layer, StoredLinear | StoredConv2d) and layer.offloaded
        for tensor in layer.stored
    }
    unique = {_key(tensor): tensor for tensor in _tensors(module) if not tensor.requires_grad}
    return [tensor for key, tensor in unique.items() if key not in away]


def _copy_without_memory(module: torch.nn.Module, device: torch.device) -> Any:
    """A copy with empty, dense weights on ``device``: the meta device, or any under a mode that gives tensors no memory."""
    memo: dict[int, Any] = {}
    for tensor in _tensors(module):
        empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
        memo[id(tensor)] = torch.nn.Parameter(empty, tensor.requires_grad) if _is_parameter(tensor) else empty
    with (
        _disable_current_modes()
    ):  # tensors that are neither parameters nor buffers are small and copied with their memory
        made = copy.deepcopy(module, memo)
    for path, layer in list(made.named_modules()):
        if isinstance(layer, StoredLinear | StoredConv2d):
            parent, _, name = path.rpartition(".")
            setattr(made.get_submodule(parent), name, _plain(layer, device))
    return made


def _is_parameter(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter)


def _plain(layer: StoredLinear | StoredConv2d, device: torch.device) -> torch.nn.Module:
    """The layer that a stored one was made from; weights are empty."""
    made: torch.nn.Module
    if isinstance(layer, StoredLinear):
        made = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device, layer.dtype)
    else:
        made = torch.nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            layer.bias is not None,
            device=device,
            dtype=layer.dtype,
        )
    return made.requires_grad_(requires_grad=False)


@contextmanager
def _caches_emptied() -> Iterator[None]:
    """Have the families forget afterwards what they remember per shape and device, which would be tensors without memory."""
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if name.startswith("assetforge_diffusers.families"):
                for value in vars(module).values():
                    clear: Callable[[], None] | None = getattr(value, "cache_clear", None)
                    if clear is not None:
                        clear()


def _optimizer_bytes(params: LoraTrainerParams, shapes: Sequence[torch.Size]) -> tuple[int, int]:
    """Bytes of the optimizer's state, and of what its step makes for a moment."""
    sizes = [shape.numel() for shape in shapes]
    total, largest = sum(sizes), max(sizes)
    if params.optimizer == "adamw8bit":
        return sum(_eight_bit_bytes(size) for size in sizes) + _EIGHT_BIT_TABLES, 0
    if params.optimizer == "adafactor":  # a sum per row and per column of the last two dimensions
        factors = sum(
            size // shape[-1] + size // shape[-2] if len(shape) > 1 else size
            for size, shape in zip(sizes, shapes, strict=True)
        )
        return 4 * factors, 3 * 4 * largest
    if params.optimizer == "prodigy":  # two moments, a sum, and where the weights were at the start
        return 4 * 4 * total, 2 * 4 * largest
    if params.optimizer == "schedule-free":
        return 2 * 4 * total, 4 * total
    return 2 * 4 * total, 0


def _eight_bit_bytes(count: int) -> int:
    if count < _EIGHT_BIT_LEAST:
        return 8 * count
    return 2 * (count + 4 * -(-count // _EIGHT_BIT_BLOCK))


def _workspace(device: torch.device) -> int:
    """Scratch memory of cuBLAS for the thread that goes forward and the one that goes backward."""
    if device.type != "cuda":
        return 0
    major, _ = torch.cuda.get_device_capability(device)
    return 2 * (_CUBLAS_HOPPER if major >= 9 else _CUBLAS)
