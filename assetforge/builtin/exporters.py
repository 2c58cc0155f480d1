"""Datasets in the forms that other tools read."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from assetforge.api.protocols import ExportItem
from assetforge.store.masks import EXPORT_NOTE, MASKS_FOLDER

__all__ = ["ImageFolderExporter", "KohyaExporter"]

_HELD_OUT = "held_out"


class KohyaExporter:
    """The folder that kohya's scripts train from: ``<repeats>_<trigger> <class>/name.png`` with ``name.txt`` beside it.

    Held-out pictures lie in ``held_out/``, which those scripts pass over, since its name has no number of repeats. So does ``masks/``, with a mask under the name of its
    picture: what a dataset's ``conditioning_data_dir`` and ``--masked_loss`` ask for.
    """

    def export(self, items: Iterable[ExportItem], destination: Path, about: Mapping[str, str]) -> Sequence[Path]:
        """Write the folder; returns every file that was written."""
        subject = _folder_name(f"{about.get('trigger', '')} {about.get('class_word', '')}")
        written: list[Path] = []
        for item in items:
            folder = destination / (_HELD_OUT if item.split == "held_out" else f"{item.repeats}_{subject}")
            folder.mkdir(parents=True, exist_ok=True)
            picture = folder / item.name
            _copy(item.source, picture)
            caption = picture.with_suffix(".txt")
            caption.write_text(item.caption + "\n", encoding="utf-8")
            written += [picture, caption]
            if item.mask is not None:
                written.append(_copy_mask(item.mask, item.name, destination))
        return [*written, _write_about(destination, about)]


class ImageFolderExporter:
    """The ``imagefolder`` layout of the datasets library: ``train/`` and ``validation/``, each with a ``metadata.jsonl``.

    A line has ``file_name``, ``text`` (the caption) and ``repeats``; with masks also ``mask_file_name``, which that library opens as the column ``mask``.
    """

    def export(self, items: Iterable[ExportItem], destination: Path, about: Mapping[str, str]) -> Sequence[Path]:
        """Write the folders; returns every file that was written."""
        written: list[Path] = []
        lines: dict[str, list[dict[str, object]]] = {}
        for item in items:
            folder = "validation" if item.split == "held_out" else "train"
            picture = destination / folder / item.name
            picture.parent.mkdir(parents=True, exist_ok=True)
            _copy(item.source, picture)
            written.append(picture)
            entry: dict[str, object] = {"file_name": item.name, "text": item.caption, "repeats": item.repeats}
            if item.mask is not None:
                mask = _copy_mask(item.mask, item.name, picture.parent)
                written.append(mask)
                entry["mask_file_name"] = mask.relative_to(picture.parent).as_posix()
            lines.setdefault(folder, []).append(entry)
        for folder, entries in lines.items():
            metadata = destination / folder / "metadata.jsonl"
            metadata.write_text(_table(entries), encoding="utf-8")
            written.append(metadata)
        return [*written, _write_about(destination, about)]


def _table(entries: list[dict[str, object]]) -> str:
    """A line of JSON each, all with the same columns."""
    columns = dict.fromkeys(name for entry in entries for name in entry)
    whole = [{name: entry.get(name) for name in columns} for entry in entries]
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in whole)


def _copy_mask(mask: Path, picture: str, folder: Path) -> Path:
    target = folder / MASKS_FOLDER / Path(picture).with_suffix(".png")
    target.parent.mkdir(exist_ok=True)
    _copy(mask, target)
    return target


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    # Blobs are read-only; exported files belong to the user.
    target.chmod(0o644)


def _folder_name(text: str) -> str:
    return " ".join(re.sub(r"[/\\\0]", " ", text).split()) or "subject"


def _write_about(destination: Path, about: Mapping[str, str]) -> Path:
    path = destination / EXPORT_NOTE
    path.write_text(json.dumps(dict(about), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
