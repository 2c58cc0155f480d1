"""Batches: as many pictures at once as change none of them; and pictures of the bare base, made once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assetforge.api.job import Cell, RenderSettings
from assetforge_diffusers.batches import Batch, find_batch, shares
from assetforge_diffusers.params import RendererParams
from assetforge_diffusers.renderer import DiffusersRenderer
from diffusers_world import FolderContext

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # the reference pipeline's

CPU, GPU = torch.device("cpu"), torch.device("mps")


class Artist:
    """Draws flat pictures, which change by ``step`` / 255 in some of their values when more than ``steady`` are drawn at once."""

    def __init__(self, steady: int, step: float = 1.0, share: float = 1.0, room: int = 99) -> None:
        self.steady, self.step, self.share, self.room = steady, step, share, room
        self.drawn: list[int] = []

    def __call__(self, cells: Sequence[Cell]) -> np.ndarray:
        self.drawn.append(len(cells))
        if len(cells) > self.room:
            raise torch.OutOfMemoryError("full")
        pictures = np.stack([np.full((8, 8, 3), cell.seed / 255, np.float32) for cell in cells])
        if len(cells) > self.steady:
            pictures.reshape(-1)[: int(pictures.size * self.share)] += self.step / 255
        return pictures


def found(artist: Artist, device: torch.device, folder: Path) -> Batch:
    return find_batch(artist, device, {"engine": 1}, folder)


def test_the_largest_batch_that_changes_nothing_is_found_on_a_cpu(tmp_path: Path) -> None:
    assert found(Artist(8), CPU, tmp_path / "a") == Batch(8)
    assert found(Artist(4), CPU, tmp_path / "b") == Batch(4)
    assert found(Artist(1, step=1e-4), CPU, tmp_path / "c") == Batch(1), "not a bit may change"
    artist = Artist(3)
    assert found(artist, CPU, tmp_path / "d") == Batch(2)
    assert artist.drawn == [1, 1, 2, 1, 1, 4], "singles are drawn once, and nothing larger is tried after a failure"


def test_a_gpu_may_differ_by_a_little_that_is_reported(tmp_path: Path) -> None:
    close = found(Artist(1, share=0.01), GPU, tmp_path / "a")
    assert close.size == 8
    assert close.largest == 1
    assert 0 < close.mean < 0.02
    assert found(Artist(1, share=0.1), GPU, tmp_path / "b") == Batch(1), "too many values differ"
    assert found(Artist(4, step=2, share=0.001), GPU, tmp_path / "c").size == 4, "one value differs by too much"
    assert found(Artist(8, room=4), GPU, tmp_path / "d").size == 4, "eight do not fit"


def test_it_is_measured_once_for_each_engine(tmp_path: Path) -> None:
    assert found(Artist(4), CPU, tmp_path) == Batch(4)
    again = Artist(8)
    assert found(again, CPU, tmp_path) == Batch(4)
    assert again.drawn == []
    assert find_batch(again, CPU, {"engine": 2}, tmp_path) == Batch(8)
    (kept,) = [file for file in (tmp_path / "batches").iterdir() if '"size": 4' in file.read_text()]
    kept.write_text("{")
    assert found(again, CPU, tmp_path) == Batch(8), "a damaged answer is asked for again"


@pytest.mark.parametrize(
    ("count", "largest", "expected"),
    [(0, 8, []), (7, 8, [4, 2, 1]), (7, 1, [1] * 7), (21, 8, [8, 8, 4, 1]), (5, 3, [3, 2])],
)
def test_only_measured_sizes_are_used(count: int, largest: int, expected: list[int]) -> None:
    assert shares(count, largest) == expected


def cell(seed: int, prompt: str = "zork robot") -> Cell:
    return Cell(index=seed, block="core", prompt=prompt, seed=seed)


def opened(base: Path, work: Path, **params: Any) -> tuple[DiffusersRenderer, dict[str, Any], FolderContext]:
    context = FolderContext(work, base, RendererParams(**params))
    renderer = DiffusersRenderer()
    settings = RenderSettings(steps=3, cfg=4.0, width=32, height=32)
    return renderer, dict(renderer.open(context.payload.base, settings, context)), context


def test_measured_batches_give_the_pixels_of_single_pictures(base_folder: Path, tmp_path: Path) -> None:
    one, record, _ = opened(base_folder, tmp_path / "one", batch_size=1)
    assert (record["batch"], record["batch_measured"]) == (1, False)
    many, record, _ = opened(base_folder, tmp_path / "many")
    assert record["batch"] in {1, 2, 4, 8}
    assert record["batch_measured"] is True
    assert "batch_tolerance" not in record, "on a CPU nothing may differ"
    cells = [cell(seed, prompt) for seed in range(7) for prompt in ("zork robot", "a robot on a hill, rain")]
    for single, together in zip(one.render(cells), many.render(cells), strict=True):
        assert np.array_equal(single, together)


def test_an_asked_batch_is_used_and_recorded(
    base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    original = DiffusersRenderer._draw
    monkeypatch.setattr(
        DiffusersRenderer,
        "_draw",
        lambda self, cells, steps: (drawn.append(len(cells)), original(self, cells, steps))[1],
    )
    renderer, record, _ = opened(base_folder, tmp_path, batch_size=4)
    assert (record["batch"], record["batch_measured"]) == (4, False)
    cells = [cell(seed) for seed in range(7)]
    together = list(renderer.render(cells))
    assert drawn == [4, 2, 1]
    single, _, _ = opened(base_folder, tmp_path, batch_size=1)
    for left, right in zip(together, single.render(cells), strict=True):
        assert np.abs(left.astype(int) - right).max() <= 1


def test_the_bare_base_is_rendered_once(base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    original = DiffusersRenderer._draw
    monkeypatch.setattr(
        DiffusersRenderer,
        "_draw",
        lambda self, cells, steps: (drawn.extend(each.seed for each in cells), original(self, cells, steps))[1],
    )
    renderer, _, _ = opened(base_folder, tmp_path, batch_size=2)
    first = list(renderer.render([cell(1), cell(2), cell(3)]))
    kept = first[1].copy()
    first[1][:] = 0  # whoever gets a picture may do with it what they want
    again = list(renderer.render([cell(4), cell(2), cell(5), cell(3), cell(6), cell(2, "another")]))
    assert drawn == [1, 2, 3, 4, 5, 6, 2]
    assert np.array_equal(again[1], kept)
    assert np.array_equal(again[3], first[2])
    renderer._now.wardrobe._files["some version"] = []
    renderer._now.wardrobe.worn = (("some version", 1.0),)
    list(renderer.render([cell(1)]))
    assert drawn[-1] == 1
    assert len(renderer._now.controls) == 7


def test_remembered_pictures_do_not_fill_the_memory(
    base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assetforge_diffusers.renderer._KEPT_CONTROLS", 3 * 32 * 32 * 3)
    monkeypatch.setattr("assetforge_diffusers.renderer._KEPT_PROMPTS", 4)
    renderer, _, _ = opened(base_folder, tmp_path, batch_size=1)
    cells = [cell(seed, f"robot {seed}") for seed in range(6)]
    first = [picture.tobytes() for picture in renderer.render(cells)]
    assert len(renderer._now.controls) == 3
    assert len(renderer._now.prompts) == 4
    assert [picture.tobytes() for picture in renderer.render(cells)] == first


def test_batches_that_do_not_fit_are_taken_apart(
    base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer, _, context = opened(base_folder, tmp_path, batch_size=4)
    expected = [next(renderer.render([cell(seed)])).tobytes() for seed in range(6)]
    renderer._now.controls.clear()
    original = DiffusersRenderer._draw

    def full(self: DiffusersRenderer, cells: Sequence[Cell], steps: int) -> np.ndarray:
        if len(cells) > 1:
            raise torch.OutOfMemoryError("full")
        return original(self, cells, steps)

    monkeypatch.setattr(DiffusersRenderer, "_draw", full)
    assert [picture.tobytes() for picture in renderer.render([cell(seed) for seed in range(6)])] == expected
    assert context.messages == ["4 pictures at once did not fit into the memory; they are rendered one by one."]
