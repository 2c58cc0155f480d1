"""Freezing: idempotent, sticky, guarded, comparable; exports that other tools can load."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlalchemy import update
from sqlmodel import col, select

from assetforge.db.models import Activity, Reference
from assetforge.domain.phash import hamming
from assetforge.errors import NotFoundError, PluginError, UsageError
from assetforge.extension.registry import get_registry, load
from assetforge.services.assets import add_asset
from assetforge.services.captions import set_caption
from assetforge.services.dataset_export import export_dataset
from assetforge.services.datasets import dataset_items, dataset_lines, diff, freeze, get_dataset, list_datasets
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project
from assetforge.services.references import exclude_reference, list_references, restore_reference
from assetforge.store.imaging import inspect_image

MakePng = Callable[..., Path]


@pytest.fixture
def inbox(project: Project) -> Path:
    return add_asset(project, "mara", "character", trigger="mara", class_word="woman").references


def fill(inbox: Path, make_png: MakePng, seeds: range) -> None:
    for seed in seeds:
        make_png(inbox / f"frame-{seed:03d}.png", seed=seed).with_suffix(".txt").write_text(f"caption {seed}")


def test_freezing_twice_gives_one_version(project: Project, inbox: Path, make_png: MakePng) -> None:
    with pytest.raises(UsageError, match="no active reference"):
        freeze(project, "mara")
    with pytest.raises(NotFoundError):
        get_dataset(project, "mara")
    fill(inbox, make_png, range(12))
    add_references(project, "mara")
    first = freeze(project, "mara", note="the first")
    assert (first.address, first.is_new, first.parent, first.note) == ("mara/d1", True, "", "the first")
    assert (first.train_count, first.held_out_count) == (10, 2)
    again = freeze(project, "mara", note="again")
    assert (again.address, again.is_new, again.note) == ("mara/d1", False, "the first")
    assert get_dataset(project, "mara").id == get_dataset(project, "mara/d1").id == first.id
    with pytest.raises(NotFoundError, match="mara/d9"):
        get_dataset(project, "mara/d9")
    with project.read() as session:
        assert [one.subject for one in session.exec(select(Activity).where(Activity.verb == "froze"))] == ["mara/d1"]


def test_the_same_pictures_give_the_same_dataset_in_another_film(
    project: Project, inbox: Path, make_png: MakePng
) -> None:
    fill(inbox, make_png, range(15))
    add_references(project, "mara")
    add_asset(project, "twin", "character")
    for path in sorted(inbox.glob("*.png"), reverse=True):
        add_references(project, "twin", [path])
    assert freeze(project, "mara").tree_hash == freeze(project, "twin").tree_hash


def test_versions_and_their_differences(project: Project, inbox: Path, make_png: MakePng) -> None:
    fill(inbox, make_png, range(10))
    added = add_references(project, "mara").added
    first = freeze(project, "mara", held_out=3)
    assert first.held_out_count == 3
    set_caption(project, added[0].address, "another caption")
    exclude_reference(project, added[1].address, "blurred")
    with project.write() as session:
        changes = {"crop": "0,0,32,32", "repeats": 4}
        session.execute(update(Reference).where(col(Reference.sha256) == added[2].sha256).values(**changes))
    fill(inbox, make_png, range(10, 13))
    new = add_references(project, "mara").added
    second = freeze(project, "mara")
    assert (second.address, second.parent) == ("mara/d2", "mara/d1")
    newer, older, changes = diff(project, "mara/d2")
    assert (newer.address, older and older.address) == ("mara/d2", "mara/d1")
    assert set(changes.added) == {one.sha256 for one in new}
    assert changes.removed == (added[1].sha256,)
    assert [(one.sha256, one.before, one.after) for one in changes.recaptioned] == [
        (added[0].sha256, "caption 0", "another caption")
    ]
    assert [one.after for one in changes.recropped] == ["0,0,32,32"]
    assert [one.after for one in changes.repeats] == ["4"]
    assert changes.resplit == ()
    assert diff(project, "mara/d1")[1] is None
    assert diff(project, "mara/d1", "mara/d2")[2].added == (added[1].sha256,)
    assert [one.address for one in list_datasets(project, "mara")] == ["mara/d2", "mara/d1"]
    old = {line.sha256: line for line in dataset_lines(project, "mara/d1")}
    assert old[added[0].sha256].caption == "caption 0"
    restore_reference(project, added[1].address)
    third = {line.sha256: line.split for line in dataset_lines(project, freeze(project, "mara").address)}
    assert {sha256: third[sha256] for sha256 in old} == {sha256: line.split for sha256, line in old.items()}
    page = dataset_items(project, "mara/d1", limit=4)
    assert [one.sha256 for one in page] == sorted(old)[:4]
    assert dataset_items(project, "mara/d1", after=page[-1].sha256)[0].sha256 == sorted(old)[4]


def test_what_cannot_be_held_out_is_said(project: Project, inbox: Path, make_png: MakePng) -> None:
    fill(inbox, make_png, range(10))
    add_references(project, "mara")
    for wrong in (-1, 2.5):
        with pytest.raises(UsageError):
            freeze(project, "mara", held_out=wrong)
    assert freeze(project, "mara", held_out=0.2).held_out_count == 2
    asked = freeze(project, "mara", held_out=5)
    assert (asked.is_new, asked.held_out_count) == (False, 2)
    assert "not 5" in asked.remarks[0]


def test_near_duplicates_never_cross_the_split(project: Project, inbox: Path) -> None:
    rng = np.random.default_rng(11)
    inbox.mkdir(parents=True, exist_ok=True)
    for index in range(14):
        coarse = Pillow.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8))
        base = coarse.resize((160, 120), Pillow.Resampling.BICUBIC)
        for variant in range(int(rng.integers(1, 4))):
            base.point(lambda value, lift=variant: min(255, value + 5 * lift)).save(inbox / f"{index}-{variant}.png")
    files = sorted(inbox.glob("*.png"), key=lambda path: (path.stem[-1], path.stem))
    for start in range(0, len(files), 9):
        add_references(project, "mara", files[start : start + 9])
        freeze(project, "mara", held_out=0.3)
    splits = {line.sha256: line.split for line in dataset_lines(project, "mara")}
    hashes = {}
    for path in files:
        said = inspect_image(path.read_bytes(), name=path.name)
        hashes[said.sha256] = said.phash
    near = [(a, b) for a in hashes for b in hashes if a < b and hamming(hashes[a], hashes[b]) <= 8]
    assert len(near) >= 5
    assert all(splits[a] == splits[b] for a, b in near)
    assert set(splits.values()) == {"train", "held_out"}


def test_when_all_are_alike_nothing_is_held_out_and_said(project: Project, inbox: Path, make_png: MakePng) -> None:
    base = Pillow.open(make_png(inbox / "a.png", seed=3, size=(200, 150)))
    for side in range(100, 190, 10):
        base.resize((side, side * 3 // 4)).save(inbox / f"b{side}.png")
    add_references(project, "mara")
    frozen = freeze(project, "mara")
    assert (frozen.held_out_count, len(frozen.remarks)) == (0, 1)


def exported(project: Project, inbox: Path, make_png: MakePng) -> None:
    fill(inbox, make_png, range(9))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.open(make_png(inbox.parent / "t.png", seed=40)).save(inbox / "turned.jpg", exif=exif)
    Pillow.open(make_png(inbox.parent / "t.png", seed=41)).convert("CMYK").save(inbox / "print.tif")
    added = add_references(project, "mara").added
    with project.write() as session:
        session.execute(
            update(Reference).where(col(Reference.sha256) == added[0].sha256).values(crop="8,4,40,28", repeats=5)
        )
    freeze(project, "mara", held_out=2)


def test_kohya_export_loads_again(project: Project, inbox: Path, make_png: MakePng, tmp_path: Path) -> None:
    exported(project, inbox, make_png)
    report = export_dataset(project, "mara", "kohya", tmp_path / "out" / "kohya")
    folder = report.destination
    assert (report.pictures, report.dataset) == (11, "mara/d1")
    assert report.converted >= 2
    assert all(path.is_file() for path in report.files)
    pictures = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(pictures) == 11
    for path in pictures:
        with Pillow.open(path) as picture:
            picture.load()
            assert picture.mode == "RGB"
            assert picture.getexif().get(0x0112, 1) == 1
        assert path.with_suffix(".txt").read_text().startswith("mara woman")
        assert path.parent.name in ("1_mara woman", "5_mara woman", "held_out")
    assert len(list((folder / "held_out").glob("*.txt"))) == 2
    cropped = next(path for path in pictures if path.stem.startswith("frame-000"))
    with Pillow.open(cropped) as picture:
        assert picture.size == (32, 24)
    with Pillow.open(next(path for path in pictures if path.stem.startswith("turned"))) as picture:
        assert picture.height > picture.width
    again = add_asset(project, "again", "character", trigger="mara", class_word="woman")
    assert len(add_references(project, again.name, [folder]).added) == 11
    assert json.loads((folder / "assetforge.json").read_text())["dataset"] == "mara/d1"


def test_imagefolder_export_loads_again(project: Project, inbox: Path, make_png: MakePng, tmp_path: Path) -> None:
    exported(project, inbox, make_png)
    destination = tmp_path / "folder"
    destination.mkdir()
    export_dataset(project, "mara/d1", "imagefolder", destination)
    counts = {}
    for split in ("train", "validation"):
        entries = [json.loads(line) for line in (destination / split / "metadata.jsonl").read_text().splitlines()]
        counts[split] = len(entries)
        for entry in entries:
            assert entry["text"].startswith("mara woman")
            with Pillow.open(destination / split / entry["file_name"]) as picture:
                picture.load()
    assert counts == {"train": 9, "validation": 2}


def test_masks_go_out_as_large_as_their_pictures(
    project: Project, inbox: Path, make_png: MakePng, tmp_path: Path
) -> None:
    fill(inbox, make_png, range(4))
    with Pillow.open(inbox / "frame-000.png") as first:
        size = first.size
    half = Pillow.new("L", (size[0] * 2, size[1] * 2))
    half.paste(255, (0, 0, size[0], size[1] * 2))
    half.save(inbox / "frame-000.mask.png")
    half.resize(size).save(inbox / "frame-001.mask.png")
    added = add_references(project, "mara").added
    with project.write() as session:
        session.execute(update(Reference).where(col(Reference.sha256) == added[0].sha256).values(crop="8,4,40,28"))
    freeze(project, "mara", held_out=0)
    folders = {name: export_dataset(project, "mara", name, tmp_path / name) for name in ("kohya", "imagefolder")}
    assert [report.masks for report in folders.values()] == [2, 2]
    for mask in (tmp_path / "kohya" / "masks").iterdir():
        picture = next((tmp_path / "kohya" / "1_mara woman").glob(mask.name))
        assert mask in folders["kohya"].files
        with Pillow.open(mask) as grey, Pillow.open(picture) as shown:
            assert grey.mode == "L"
            assert grey.size == shown.size
            edge = size[0] // 2 - (8 if mask.name.startswith("frame-000") else 0)
            assert (grey.getpixel((edge - 3, 5)), grey.getpixel((edge + 3, 5))) == (255, 0)
    train = tmp_path / "imagefolder" / "train"
    entries = [json.loads(line) for line in (train / "metadata.jsonl").read_text().splitlines()]
    assert [entry["mask_file_name"] is not None for entry in entries].count(True) == 2
    assert all((train / entry["mask_file_name"]).is_file() for entry in entries if entry["mask_file_name"])


def test_an_export_never_writes_over_anything(
    project: Project, inbox: Path, make_png: MakePng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(inbox, make_png, range(3))
    add_references(project, "mara")
    freeze(project, "mara")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for taken in (tmp_path / "full", tmp_path / "full" / "mine.txt"):
        with pytest.raises(UsageError, match="not an empty folder"):
            export_dataset(project, "mara", "kohya", taken)
    with pytest.raises(NotFoundError):
        export_dataset(project, "mara", "no-such-tool", tmp_path / "new")

    def broken(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr("assetforge.builtin.exporters._write_about", broken)
    with pytest.raises(PluginError, match="kohya"):
        export_dataset(project, "mara", "kohya", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".exporting-*"))


def test_the_sidecar_captioner_reads_what_lies_there(inbox: Path, make_png: MakePng) -> None:
    fill(inbox, make_png, range(1))
    captioner = load(get_registry().captioner("sidecar").spec.load)()
    assert list(captioner.caption([inbox / "frame-000.png", inbox / "none.png"])) == ["caption 0", ""]


def sample_photographs(folder: Path) -> int:
    """Photographs that ship inside packages, where those are installed."""
    folder.mkdir(parents=True)
    found = 0
    for package, where in (("skimage", "data"), ("sklearn", "datasets/images"), ("matplotlib", "mpl-data/sample_data")):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            continue
        for path in sorted(Path(spec.submodule_search_locations[0], where).iterdir()):
            if path.suffix in (".jpg", ".jpeg", ".png", ".gif", ".tif"):
                (folder / f"{package}-{path.name}").write_bytes(path.read_bytes())
                found += 1
    return found


def test_real_photographs_go_all_the_way(project: Project, inbox: Path, tmp_path: Path) -> None:
    count = sample_photographs(tmp_path / "photos")
    if not count:
        pytest.skip("no package with sample photographs is installed")
    report = add_references(project, "mara", [tmp_path / "photos"])
    assert len(report.added) + len(report.refused) + len(report.duplicates) == count
    assert {one.code for one in report.refused} <= {"animated", "unsupported"}
    assert len(report.added) >= 2
    assert all(item.sharpness > 0 for item in list_references(project, "mara").items)
    frozen = freeze(project, "mara")
    assert frozen.train_count >= 1
    export_dataset(project, "mara", "kohya", tmp_path / "out")
