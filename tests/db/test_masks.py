"""Masks of references: found beside pictures or set by hand, kept like pictures, frozen with the dataset and sent along with a run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow

from assetforge.errors import ImageError, UsageError
from assetforge.services.assets import add_asset
from assetforge.services.dataset_export import export_dataset
from assetforge.services.datasets import dataset_items, diff, freeze, get_dataset
from assetforge.services.ingest import add_references
from assetforge.services.maintenance import check_project, collect_garbage
from assetforge.services.projects import Project
from assetforge.services.reference_settings import set_references
from assetforge.services.references import get_reference, list_references
from assetforge.store.gc import GcPolicy
from assetforge.store.picture_names import NameKind, kind_of_file

MakePng = Callable[..., Path]


@pytest.fixture
def inbox(project: Project) -> Path:
    return add_asset(project, "mara", "character", trigger="mara").references


def make_mask(path: Path, size: tuple[int, int] = (160, 120), shade: int = 255) -> Path:
    mask = Pillow.new("L", size, 0)
    mask.paste(shade, (0, 0, size[0] // 2, size[1]))
    mask.save(path)
    return path


def test_masks_beside_pictures_belong_to_them_and_are_no_references(
    project: Project, inbox: Path, make_png: MakePng
) -> None:
    for seed, name in enumerate(("a.png", "b.png", "c.png", "lone-masklabel.png")):
        make_png(inbox / name, seed=seed, size=(160, 120))
    make_mask(inbox / "a.mask.png")
    make_mask(inbox / "b-masklabel.png", size=(80, 60), shade=200)
    report = add_references(project, "mara")
    assert (len(report.added), report.masks, report.skipped) == (4, 2, 0)
    masks = {
        get_reference(project, one.address).file_name: get_reference(project, one.address).mask for one in report.added
    }
    assert {name for name, mask in masks.items() if mask} == {"a.png", "b.png"}
    assert all(project.blobs.verify(mask) for mask in masks.values() if mask)
    again = add_references(project, "mara")
    assert (len(again.added), again.masks) == (0, 0)
    make_mask(inbox / "a.mask.png", shade=120)
    assert add_references(project, "mara").masks == 1


def test_a_mask_that_does_not_fit_refuses_its_picture_and_nothing_else(
    project: Project, inbox: Path, make_png: MakePng
) -> None:
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        make_png(inbox / name, seed=seed, size=(160, 120))
    make_mask(inbox / "a.mask.png", size=(100, 100))
    (inbox / "b.mask.png").write_bytes(b"no picture")
    report = add_references(project, "mara")
    assert [(one.path.name, one.code) for one in report.refused] == [("a.png", "bad-mask"), ("b.png", "bad-mask")]
    assert "100x100" in report.refused[0].message
    assert len(report.added) == 1


def test_a_dataset_version_keeps_its_masks(project: Project, inbox: Path, make_png: MakePng, tmp_path: Path) -> None:
    for seed in range(4):
        make_png(inbox / f"{seed}.png", seed=seed, size=(160, 120))
    addresses = [one.address for one in add_references(project, "mara").added]
    plain = freeze(project, "mara")
    changed = set_references(project, addresses[:2], mask=make_mask(tmp_path / "painted.png"))
    mask = changed[0].mask
    assert {one.mask for one in changed} == {mask}
    frozen = freeze(project, "mara")
    assert frozen.is_new
    _, _, changes = diff(project, frozen.address)
    assert {one.after for one in changes.remasked} == {mask}
    assert not changes.empty
    set_references(project, addresses, mask=Path("none"))
    assert get_reference(project, addresses[0]).mask == ""
    assert freeze(project, "mara").tree_hash == plain.tree_hash  # no mask, no difference
    assert [one.mask for one in dataset_items(project, frozen.address)].count(mask) == 2
    collect_garbage(project, policy=GcPolicy(grace_s=-1), dry_run=False)
    assert project.blobs.verify(mask)
    assert not check_project(project).problems
    project.blobs.path(mask).unlink()
    assert [one.subject for one in check_project(project).problems if "mask" in one.subject]
    assert get_dataset(project, frozen.address).tree_hash == frozen.tree_hash


def test_a_mask_by_hand_has_to_be_a_picture_of_the_same_shape(
    project: Project, inbox: Path, make_png: MakePng, tmp_path: Path
) -> None:
    make_png(inbox / "a.png", seed=1, size=(160, 120))
    (address,) = (one.address for one in add_references(project, "mara").added)
    with pytest.raises(ImageError, match="another shape"):
        set_references(project, [address], mask=make_mask(tmp_path / "square.png", size=(64, 64)))
    with pytest.raises(ImageError, match="does not exist"):
        set_references(project, [address], mask=tmp_path / "missing.png")
    with pytest.raises(UsageError):
        set_references(project, [address])
    assert get_reference(project, address).mask == ""


@pytest.mark.parametrize("form", ["kohya", "imagefolder"])
def test_an_exported_dataset_is_read_again_with_its_masks(
    project: Project, inbox: Path, make_png: MakePng, tmp_path: Path, form: str
) -> None:
    for seed, name in enumerate(("a.png", "b [1].png", "c.png", "d.png")):
        make_png(inbox / name, seed=seed, size=(160, 120))
    make_mask(inbox / "a.mask.png")
    make_mask(inbox / "b [1].mask.png", shade=120)
    add_references(project, "mara")
    freeze(project, "mara")
    export_dataset(project, "mara/d1", form, tmp_path / "out")
    add_asset(project, "twin", "character", trigger="mara")
    report = add_references(project, "twin", [tmp_path / "out"])
    assert (len(report.added), report.masks, report.refused) == (4, 2, [])

    def of(asset: str) -> dict[str, str]:
        return {one.sha256: one.mask for one in list_references(project, asset).items}

    assert of("twin") == of("mara")
    masks = [path for path in (tmp_path / "out").rglob("*.png") if path.parent.name == "masks"]
    assert len(masks) == 2
    assert {kind_of_file(path, ()) for path in masks} == {NameKind.BESIDE}


def test_a_folder_called_masks_may_hold_pictures_of_masks(project: Project, inbox: Path, make_png: MakePng) -> None:
    for seed, folder in enumerate(("masks", "faces")):
        make_png(inbox / folder / "venice.png", seed=seed, size=(160, 120))
    report = add_references(project, "mara")
    assert (len(report.added), report.masks) == (2, 0)
    assert kind_of_file(inbox / "masks" / "venice.png", ()) is NameKind.PICTURE
