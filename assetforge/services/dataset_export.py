"""Dataset versions on their way to other tools."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Resampling
from sqlmodel import col, select

from assetforge.api.protocols import Exporter, ExportItem
from assetforge.db.models import DatasetItemRow, Image, Reference
from assetforge.domain.captions import training_caption
from assetforge.durable import storage_error
from assetforge.errors import PluginError, UsageError
from assetforge.extension.registry import get_registry, load
from assetforge.services.assets import AssetInfo, get_asset
from assetforge.services.datasets import DatasetInfo, get_dataset
from assetforge.services.projects import Project
from assetforge.store.imaging import load_srgb

__all__ = ["ExportReport", "export_dataset"]

_AS_IS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
_DIGITS = 12
_STEM = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported.

    Attributes:
        dataset: Address of the dataset version.
        exporter: Name of the exporter.
        destination: The folder.
        pictures: How many pictures.
        converted: How many of them were written anew as PNG, since other tools would not show them as they are meant.
        masks: How many of them have a mask.
        files: Every file that was written.
    """

    dataset: str
    exporter: str
    destination: Path
    pictures: int
    converted: int
    masks: int
    files: tuple[Path, ...]


def export_dataset(project: Project, address: str, exporter: str, destination: Path) -> ExportReport:
    """Write a dataset version in the form of another tool, with the captions that training would use (trigger included).

    Pictures go out byte for byte, except those that other tools would misread (turned by EXIF, with a profile, transparent, CMYK, 16-bit, cropped, or of a
    rarer format): these become upright sRGB PNG files. Masks become as large as their pictures, and are cropped with them. The folder appears at once, when it is complete.

    Args:
        project: The film.
        address: Such as ``mara/d3``; ``mara`` is the newest.
        exporter: Name of a dataset exporter, such as ``kohya`` or ``imagefolder``.
        destination: A folder that does not exist yet or is empty.

    Raises:
        UsageError: The folder is not empty, or the exporter does not write datasets.
        NotFoundError: There is no such dataset version or exporter.
        PluginError: The exporter failed.
        StorageError: A blob is missing, or the folder cannot be written.
    """
    registered = get_registry().exporter(exporter)
    if registered.spec.exports != "dataset":
        raise UsageError(
            f"The exporter {exporter!r} does not write datasets.", hint="`assetforge plugin list` shows what there is."
        )
    destination = check_destination(destination)
    dataset = get_dataset(project, address)
    asset = get_asset(project, dataset.asset)
    writer: Exporter = load(registered.spec.load)()
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".exporting-", dir=destination.parent) as temporary:
            folder = Path(temporary) / "out"
            folder.mkdir()
            items = list(_items(project, dataset, asset, Path(temporary)))
            written = _run(writer, items, folder, _about(project, dataset, asset), exporter)
            folder.chmod(0o755)
            if destination.exists():
                destination.rmdir()
            folder.rename(destination)
    except OSError as error:
        raise storage_error(error, destination, "written") from error
    return ExportReport(
        dataset=dataset.address,
        exporter=exporter,
        destination=destination,
        pictures=len(items),
        converted=sum(item.source.is_relative_to(temporary) for item in items),
        masks=sum(item.mask is not None for item in items),
        files=tuple(destination / path.relative_to(folder) for path in written),
    )


def check_destination(destination: Path) -> Path:
    """The folder as an absolute path.

    Raises:
        UsageError: It exists and is not an empty folder.
        StorageError: It cannot be looked at.
    """
    destination = destination.expanduser().absolute()
    try:
        taken = destination.exists() and (not destination.is_dir() or any(destination.iterdir()))
    except OSError as error:
        raise storage_error(error, destination, "read") from error
    if taken:
        raise UsageError(f"{destination} is not an empty folder.", hint="Name a new folder; nothing was written.")
    return destination


def _run(writer: Exporter, items: list[ExportItem], folder: Path, about: dict[str, str], name: str) -> list[Path]:
    try:
        return list(writer.export(items, folder, about))
    except OSError:
        raise
    except Exception as error:
        raise PluginError(
            f"The exporter {name!r} failed: {type(error).__name__}: {error}",
            hint="Nothing was written; report it to its author.",
        ) from error


def _about(project: Project, dataset: DatasetInfo, asset: AssetInfo) -> dict[str, str]:
    return {
        "project": project.name,
        "asset": asset.name,
        "type": asset.type,
        "trigger": asset.trigger,
        "class_word": asset.class_word,
        "dataset": dataset.address,
        "tree_hash": dataset.tree_hash,
    }


def _items(project: Project, dataset: DatasetInfo, asset: AssetInfo, temporary: Path) -> Iterator[ExportItem]:
    query = (
        select(DatasetItemRow, Image, Reference.file_name)
        .join(Image, col(Image.sha256) == DatasetItemRow.sha256)
        .join(Reference, (col(Reference.sha256) == DatasetItemRow.sha256) & (col(Reference.asset_id) == asset.id))
        .where(DatasetItemRow.dataset_id == dataset.id)
        .order_by(col(DatasetItemRow.sha256))
    )
    with project.read() as session:
        rows = session.exec(query).all()
    for item, image, file_name in rows:
        suffix = "" if item.crop or not _is_plain(image) else _AS_IS[image.format]
        source = project.blobs.path(item.sha256)
        if not suffix:
            source = temporary / f"{item.sha256}.png"
            picture = load_srgb(project.blobs.read_bytes(item.sha256), name=file_name)
            if item.crop:
                picture = picture.crop(_edges(item.crop))
            picture.save(source, "PNG")
        else:
            # Says what is wrong while nothing is written yet.
            project.blobs.size(item.sha256)
        yield ExportItem(
            source=source,
            name=_readable(file_name, item.sha256) + (suffix or ".png"),
            caption=training_caption(item.caption, trigger=asset.trigger, class_word=asset.class_word),
            repeats=item.repeats,
            split=item.split,
            mask=_mask(project, item, image, file_name, temporary) if item.mask else None,
        )


def _mask(project: Project, item: DatasetItemRow, image: Image, file_name: str, temporary: Path) -> Path:
    mask = load_srgb(project.blobs.read_bytes(item.mask), name=f"the mask of {file_name}").convert("L")
    if mask.size != (image.width, image.height):
        mask = mask.resize((image.width, image.height), Resampling.BILINEAR)
    if item.crop:
        mask = mask.crop(_edges(item.crop))
    place = temporary / f"{item.sha256}.mask.png"
    mask.save(place, "PNG")
    return place


def _edges(crop: str) -> tuple[int, int, int, int]:
    left, top, right, bottom = (int(edge) for edge in crop.split(","))
    return left, top, right, bottom


def _is_plain(image: Image) -> bool:
    return (
        image.format in _AS_IS
        and image.mode in ("RGB", "L")
        and image.bits == 8
        and image.orientation == 1
        and not image.has_alpha
        and not image.has_profile
    )


def _readable(file_name: str, sha256: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", file_name.rsplit(".", 1)[0]).strip("-")[:_STEM].rstrip("-")
    # The hash keeps names apart that only differ in letters that not every tool can read.
    return f"{stem}-{sha256[:_DIGITS]}" if stem else sha256[:_DIGITS]
