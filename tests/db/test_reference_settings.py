"""Crop, repeats and split by hand: checked, noted, undoable, and taken over by the next freeze."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow
from sqlmodel import select

from assetforge.db.models import Activity
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.assets import add_asset
from assetforge.services.datasets import dataset_lines, diff, freeze
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project
from assetforge.services.reference_settings import set_references
from assetforge.services.references import exclude_reference, get_reference, list_references, restore_reference

MakePng = Callable[..., Path]


@pytest.fixture
def inbox(project: Project) -> Path:
    return add_asset(project, "mara", "character", trigger="mara").references


@pytest.fixture
def addresses(project: Project, inbox: Path, make_png: MakePng) -> list[str]:
    for seed in range(10):
        make_png(inbox / f"{seed}.png", seed=seed, size=(160, 120))
    return [one.address for one in add_references(project, "mara").added]


def resaved(source: Path, target: Path, size: tuple[int, int]) -> Path:
    """The same picture in other bytes."""
    with Pillow.open(source) as picture:
        picture.convert("RGB").resize(size).save(target, quality=80)
    return target


def splits(project: Project) -> dict[str, str]:
    return {line.sha256: line.split for line in dataset_lines(project, "mara")}


def test_the_next_dataset_has_it_and_the_difference_says_so(project: Project, addresses: list[str]) -> None:
    freeze(project, "mara")
    first, second, third = addresses[:3]
    before = get_reference(project, third)
    other = "train" if before.split == "held_out" else "held_out"
    changed = set_references(project, [first, second, first], crop="8,4,40,28", repeats=5)
    assert [(one.address, one.crop, one.repeats) for one in changed] == [
        (first, "8,4,40,28", 5),
        (second, "8,4,40,28", 5),
    ]
    set_references(project, [third], split=other)
    frozen = freeze(project, "mara")
    _, _, changes = diff(project, "mara")
    assert (frozen.address, frozen.is_new) == ("mara/d2", True)
    hashes = {get_reference(project, one).sha256 for one in (first, second)}
    assert {one.sha256 for one in changes.recropped} == {one.sha256 for one in changes.repeats} == hashes
    assert [(one.sha256, one.before, one.after) for one in changes.resplit] == [(before.sha256, before.split, other)]
    assert not changes.recaptioned

    set_references(project, [first, second], crop="none", repeats=1)
    set_references(project, [third], split=before.split)
    freeze(project, "mara")
    assert diff(project, "mara/d3", "mara/d1")[2].empty


def test_what_was_and_what_is_are_noted_once(project: Project, addresses: list[str]) -> None:
    for _ in range(2):
        set_references(project, [addresses[0]], crop="0,0,64,64", repeats=3)
    set_references(project, [addresses[0]], crop="0,0,160,120")
    with project.read() as session:
        noted = session.exec(select(Activity).where(Activity.verb == "set").order_by(Activity.id)).all()
    assert [(one.subject, one.detail) for one in noted] == [
        (addresses[0], {"crop": ["", "0,0,64,64"], "repeats": [1, 3]}),
        (addresses[0], {"crop": ["0,0,64,64", ""]}),
    ]


def test_all_or_none_and_what_is_refused(
    project: Project, inbox: Path, addresses: list[str], make_png: MakePng, tmp_path: Path
) -> None:
    small = add_references(project, "mara", [make_png(tmp_path / "small.png", seed=50, size=(50, 50))]).added[0]
    with pytest.raises(UsageError, match=f"reaches beyond {small.address}, which is 50x50"):
        set_references(project, [addresses[0], small.address], crop="0,0,100,100")
    assert get_reference(project, addresses[0]).crop == ""
    for repeats in (0, -1, 1001):
        with pytest.raises(UsageError, match="times per epoch"):
            set_references(project, addresses[:1], repeats=repeats)
    for nothing in ([], addresses):
        with pytest.raises(UsageError, match="Nothing was said"):
            set_references(project, nothing)
    with pytest.raises(NotFoundError):
        set_references(project, [addresses[0], "mara/ref/000000"], repeats=2)
    assert get_reference(project, addresses[0]).repeats == 1
    with pytest.raises(UsageError, match="none trained on"):
        set_references(project, [*addresses, small.address], split="held_out")
    assert {one.split for one in list_references(project, "mara").items} == {""}


def test_a_crop_counts_in_the_upright_picture(project: Project, inbox: Path, make_png: MakePng) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    with Pillow.open(make_png(inbox.parent / "t.png", seed=40, size=(80, 40))) as picture:
        inbox.mkdir(parents=True, exist_ok=True)
        picture.save(inbox / "turned.jpg", exif=exif)
    address = add_references(project, "mara").added[0].address
    assert set_references(project, [address], crop="0,30,40,80")[0].crop == "0,30,40,80"
    with pytest.raises(UsageError, match="40x80"):
        set_references(project, [address], crop="0,0,80,40")


def test_auto_gives_the_choice_back(project: Project, addresses: list[str]) -> None:
    freeze(project, "mara")
    chosen = splits(project)
    held = [one.address for one in list_references(project, "mara").items if one.split == "held_out"]
    set_references(project, held, split="train")
    frozen = freeze(project, "mara")
    assert frozen.held_out_count == 0
    assert "trained on already" in frozen.remarks[0]
    assert {one.split for one in set_references(project, held, split="auto")} == {""}
    freeze(project, "mara")
    assert splits(project) == chosen


def test_near_duplicates_are_not_parted_by_hand(
    project: Project, inbox: Path, addresses: list[str], tmp_path: Path
) -> None:
    twin = add_references(project, "mara", [resaved(inbox / "0.png", tmp_path / "twin.jpg", (120, 90))]).added[0]
    one, two = addresses[0], twin.address
    # While neither has a split, one decision counts for both.
    set_references(project, [one], split="held_out")
    freeze(project, "mara")
    assert get_reference(project, two).split == "held_out"

    with pytest.raises(UsageError) as caught:
        set_references(project, [two], split="train")
    assert f"{two} cannot be trained on while {one} is held out" in caught.value.message
    assert "near-duplicates" in caught.value.message
    assert f"ref set {two} {one} --split train" in caught.value.hint
    assert get_reference(project, two).split == "held_out"

    assert {ref.split for ref in set_references(project, [two, one], split="train")} == {"train"}
    set_references(project, [one], split="auto")
    freeze(project, "mara")
    assert get_reference(project, one).split == "train"

    exclude_reference(project, one, "too soft")
    with pytest.raises(UsageError, match=f"{one} is trained on, though it is excluded"):
        set_references(project, [two], split="held_out")


def test_a_held_out_picture_that_was_excluded_and_comes_back_resaved_is_not_trained_on(
    project: Project, inbox: Path, addresses: list[str], tmp_path: Path
) -> None:
    freeze(project, "mara")
    held = next(one for one in list_references(project, "mara").items if one.split == "held_out")
    exclude_reference(project, held.address, "wrong colours")
    assert freeze(project, "mara", held_out=1).held_out_count == 1
    for number, size in enumerate([(120, 90), (140, 105)]):
        source = resaved(inbox / held.file_name, tmp_path / f"again-{number}.jpg", size)
        back = add_references(project, "mara", [source]).added[0]
        # No more are asked for than there are: only its near-duplicate speaks for holding it out.
        freeze(project, "mara", held_out=1)
        assert splits(project)[back.sha256] == "held_out"
        assert held.sha256 not in splits(project)
    restore_reference(project, held.address)
    frozen = freeze(project, "mara")
    assert (splits(project)[held.sha256], frozen.remarks) == ("held_out", ())


def test_what_was_trained_on_and_excluded_does_not_come_back_as_held_out(
    project: Project, inbox: Path, addresses: list[str], tmp_path: Path
) -> None:
    freeze(project, "mara")
    trained = [one for one in list_references(project, "mara").items if one.split == "train"]
    for one in trained[:4]:
        exclude_reference(project, one.address, "for later")
    files = [
        resaved(inbox / one.file_name, tmp_path / f"{index}.jpg", (120, 90)) for index, one in enumerate(trained[:4])
    ]
    back = add_references(project, "mara", files).added
    freeze(project, "mara", held_out=0.9)
    assert {splits(project)[one.sha256] for one in back} == {"train"}


def test_a_person_hears_when_a_held_out_picture_must_be_trained_on(
    project: Project, inbox: Path, addresses: list[str], tmp_path: Path
) -> None:
    set_references(project, [addresses[0]], split="held_out")
    set_references(project, addresses[1:], split="train")
    freeze(project, "mara")
    for address in addresses[1:]:
        exclude_reference(project, address, "for later")
    frozen = freeze(project, "mara")
    assert (frozen.train_count, frozen.held_out_count) == (1, 0)
    assert "nothing else was left" in frozen.remarks[0]
    assert addresses[0] in frozen.remarks[0]
