"""The renderer contract: a new renderer is right when a subclass of :class:`RendererContract` passes.

::

    class TestMyRenderer(RendererContract):
        spec = MY_RENDERER_SPEC
        settings = RenderSettings(steps=2, cfg=3.0, width=64, height=64)

        def base(self, folder): ...
        def lora(self, workdir): ...
"""

# The names of the tests are their documentation.
# ruff: noqa: D102

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from assetforge.api import Params
from assetforge.api.job import BaseRef, Cell, LoraRef, RenderSettings
from assetforge.api.specs import RendererSpec
from assetforge.extension.kinds import spec_problems
from assetforge.extension.registry import load
from assetforge.testing.contexts import FolderContext
from assetforge.testing.inputs import TRIGGER

if TYPE_CHECKING:
    from assetforge.api.protocols import ImageArray, Renderer

__all__ = ["RendererContract", "lora_ref"]


def lora_ref(workdir: Path, file: Path, name: str = "zorvex/v1") -> LoraRef:
    """Refer to a LoRA file below ``workdir``, as a bundle does."""
    return LoraRef(
        name=name, file=file.relative_to(workdir).as_posix(), sha256=hashlib.sha256(file.read_bytes()).hexdigest()
    )


class RendererContract(ABC):
    """Subclass it, name the class ``Test...``, set ``spec`` and ``settings``, override ``base`` and ``lora``.

    Attributes:
        spec: The renderer's spec; its ``load`` is what is tested.
        params: Values for the parameter model.
        settings: Small and quick.
        prompts: At least two; the LoRA must change what the first one gives.
    """

    spec: ClassVar[RendererSpec]
    params: ClassVar[Mapping[str, Any]] = {}
    settings: ClassVar[RenderSettings] = RenderSettings(steps=2, cfg=3.0, width=64, height=64)
    prompts: ClassVar[tuple[str, ...]] = (f"{TRIGGER} disc", "a disc on a hill", "nothing at all")

    @abstractmethod
    def base(self, folder: Path) -> BaseRef:
        """The base model, with ``path`` set. Small; may be made in ``folder``."""

    @abstractmethod
    def lora(self, workdir: Path) -> LoraRef:
        """A LoRA for that base, as a file below ``workdir``; :func:`lora_ref` refers to it."""

    @pytest.fixture(scope="class")
    def contract_workdir(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The work folder of all tests of the class."""
        return tmp_path_factory.mktemp("renderer-contract")

    @pytest.fixture(scope="class")
    def contract_base(self, contract_workdir: Path) -> BaseRef:
        """The base model."""
        folder = contract_workdir / "base"
        folder.mkdir()
        return self.base(folder)

    @pytest.fixture(scope="class")
    def contract_lora(self, contract_workdir: Path) -> LoraRef:
        """A LoRA for it."""
        return self.lora(contract_workdir)

    @pytest.fixture(scope="class")
    def renderer(self, contract_workdir: Path, contract_base: BaseRef) -> "Iterator[Renderer]":
        """An opened renderer, shared by the tests as a job shares it by its passes."""
        renderer = load(self.spec.load)()
        renderer.open(contract_base, self.settings, self.context(contract_workdir))
        yield renderer
        renderer.close()

    def context(self, workdir: Path) -> FolderContext:
        """A context on the work folder."""
        params: Params = self.spec.params.model_validate(dict(self.params))
        cache = workdir / "cache"
        cache.mkdir(exist_ok=True)
        return FolderContext(workdir=workdir, cache=cache, params=params)

    def cells(self) -> list[Cell]:
        """One cell per prompt, with seeds 11, 12 ..."""
        return [
            Cell(index=index, block="core", prompt=prompt, seed=11 + index) for index, prompt in enumerate(self.prompts)
        ]

    def pictures(
        self, renderer: "Renderer", loras: Sequence[tuple[LoraRef, float]], cells: Sequence[Cell]
    ) -> "list[ImageArray]":
        """Render ``cells`` with ``loras``."""
        renderer.use(loras)
        return list(renderer.render(cells))

    def test_the_spec_can_be_used(self) -> None:
        assert spec_problems(self.spec, RendererSpec) == []
        assert self.spec.families
        assert self.spec.version
        assert self.spec.params.model_json_schema()["type"] == "object"

    def test_the_engine_record_is_json(self, contract_workdir: Path, contract_base: BaseRef) -> None:
        renderer = load(self.spec.load)()
        record = renderer.open(contract_base, self.settings, self.context(contract_workdir))
        renderer.close()
        assert record, "the engine record says nothing"
        assert json.loads(json.dumps(dict(record))) == dict(record), "the engine record changes on its way through JSON"

    def test_pictures_are_uint8_of_the_size_asked_for(self, renderer: "Renderer") -> None:
        pictures = self.pictures(renderer, [], self.cells())
        assert len(pictures) == len(self.cells()), "one picture per cell, in order"
        for picture in pictures:
            assert picture.dtype == np.uint8
            assert picture.shape == (self.settings.height, self.settings.width, 3)

    def test_same_cell_same_pixels(self, renderer: "Renderer") -> None:
        first, second = (self.pictures(renderer, [], self.cells()[:1])[0] for _ in range(2))
        assert np.array_equal(first, second)

    def test_order_and_company_change_nothing(self, renderer: "Renderer") -> None:
        cells = self.cells()
        together = self.pictures(renderer, [], cells)
        reverse = self.pictures(renderer, [], cells[::-1])[::-1]
        alone = [self.pictures(renderer, [], [cell])[0] for cell in cells]
        for picture, turned, single in zip(together, reverse, alone, strict=True):
            assert np.array_equal(picture, turned)
            assert np.array_equal(picture, single)

    def test_the_index_and_the_block_change_nothing(self, renderer: "Renderer") -> None:
        cell = self.cells()[0]
        moved = cell.model_copy(update={"index": 99, "block": "bleed"})
        first, second = self.pictures(renderer, [], [cell, moved])
        assert np.array_equal(first, second)

    def test_a_new_renderer_gives_the_same_pixels(
        self, renderer: "Renderer", contract_workdir: Path, contract_base: BaseRef
    ) -> None:
        expected = self.pictures(renderer, [], self.cells()[:1])[0]
        fresh = load(self.spec.load)()
        fresh.open(contract_base, self.settings, self.context(contract_workdir))
        try:
            assert np.array_equal(self.pictures(fresh, [], self.cells()[:1])[0], expected)
        finally:
            fresh.close()

    def test_the_seed_changes_pixels(self, renderer: "Renderer") -> None:
        cell = self.cells()[0]
        first, second = self.pictures(renderer, [], [cell, cell.model_copy(update={"seed": cell.seed + 1})])
        assert not np.array_equal(first, second)

    def test_the_prompt_changes_pixels(self, renderer: "Renderer") -> None:
        cell = self.cells()[0]
        first, second = self.pictures(renderer, [], [cell, cell.model_copy(update={"prompt": self.prompts[1]})])
        assert not np.array_equal(first, second)

    def test_a_lora_changes_pixels_and_can_be_taken_off(self, renderer: "Renderer", contract_lora: LoraRef) -> None:
        cells = self.cells()
        bare = self.pictures(renderer, [], cells)
        worn = self.pictures(renderer, [(contract_lora, 1.0)], cells)
        again = self.pictures(renderer, [], cells)
        assert not np.array_equal(bare[0], worn[0]), "the LoRA changes nothing"
        for before, after in zip(bare, again, strict=True):
            assert np.array_equal(before, after), "use([]) is not the bare base any more"

    def test_strength_changes_pixels_and_zero_is_the_base(self, renderer: "Renderer", contract_lora: LoraRef) -> None:
        cell = self.cells()[:1]
        bare = self.pictures(renderer, [], cell)[0]
        none, half, full = (
            self.pictures(renderer, [(contract_lora, strength)], cell)[0] for strength in (0.0, 0.5, 1.0)
        )
        assert np.array_equal(none, bare), "strength 0 is not the bare base bit for bit"
        assert not np.array_equal(half, full)
        assert not np.array_equal(half, bare)

    def test_swapping_leaves_nothing_behind(self, renderer: "Renderer", contract_lora: LoraRef) -> None:
        cell = self.cells()[:1]
        first = self.pictures(renderer, [(contract_lora, 1.0)], cell)[0]
        self.pictures(renderer, [(contract_lora, 0.3)], cell)
        assert np.array_equal(self.pictures(renderer, [(contract_lora, 1.0)], cell)[0], first)
