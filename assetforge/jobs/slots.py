"""Executors by name, and the slots they offer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from assetforge.api.protocols import Executor, Offer
from assetforge.errors import AssetForgeError
from assetforge.extension.registry import get_registry, load

__all__ = ["Executors", "Place", "ReservedSlot", "SharedSlots", "accepted_devices"]


class ReservedSlot(Protocol):
    """A slot that is kept for the next attempt that is submitted there."""

    def close(self) -> None:
        """Give it back, unless an attempt has it by now; may be called again."""


@runtime_checkable
class SharedSlots(Protocol):
    """What an executor offers besides, whose slots are shared by several films."""

    def want(self, film: str, wants: Mapping[str, int]) -> None:
        """Say which slots a film waits for, each with the priority of the job; to be repeated every second or so."""

    def reserve(self, film: str, slot: str) -> ReservedSlot | None:
        """Take a slot for the next attempt; ``None`` when it is in use or another film has its turn."""

    def user(self, slot: str) -> str:
        """Which film uses a slot."""


@dataclass(frozen=True, slots=True)
class Place:
    """An executor that can be used.

    Attributes:
        executor: The live object.
        in_place: It runs in the work folder itself; otherwise events are mirrored into it.
    """

    executor: Executor
    in_place: bool = True

    @property
    def shared(self) -> SharedSlots | None:
        """The executor, when films share its slots."""
        return self.executor if isinstance(self.executor, SharedSlots) else None


def accepted_devices(offer: Offer) -> Collection[str]:
    """What a job may ask for and still run in a slot: every machine has a CPU."""
    return {"auto", "cpu", offer.device.partition(":")[0]}


class Executors:
    """Executors, loaded when a job first names them.

    Args:
        given: Executors that need no plugin, by name.
        slots: How many jobs the local executor runs at once; 0 leaves it to the executor.
    """

    def __init__(self, given: Mapping[str, Place] | None = None, slots: int = 0) -> None:
        self._places = dict(given or {})
        self._slots = slots
        self._failed: dict[str, AssetForgeError] = {}

    def get(self, name: str) -> Place:
        """The executor of that name.

        Raises:
            NotFoundError: No plugin brings it.
            PluginError: Its plugin is broken.
        """
        if name in self._failed:
            raise self._failed[name]
        if name not in self._places:
            try:
                self._places[name] = self._load(name)
            except AssetForgeError as error:
                self._failed[name] = error
                raise
        return self._places[name]

    def offers(self, name: str) -> Sequence[Offer]:
        """What an executor has to give."""
        return self.get(name).executor.probe()

    def _load(self, name: str) -> Place:
        spec = get_registry().executor(name).spec
        values = {"slots": self._slots} if self._slots and "slots" in spec.params.model_fields else {}
        executor: Executor = load(spec.load)(spec.params.model_validate(values))
        return Place(executor=executor, in_place=spec.transport == "dir")
