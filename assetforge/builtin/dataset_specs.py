"""What the builtin exporters and captioners are, without loading them."""

from assetforge.api.specs import CaptionerSpec, ExporterSpec

__all__ = ["CAPTIONERS", "DATASET_EXPORTERS"]

DATASET_EXPORTERS: tuple[ExporterSpec, ...] = (
    ExporterSpec(
        name="kohya",
        title="kohya folder",
        summary="Folders named <repeats>_<trigger> <class> with pictures and .txt captions, for kohya's scripts and what reads their layout.",
        load="assetforge.builtin.exporters:KohyaExporter",
    ),
    ExporterSpec(
        name="imagefolder",
        title="imagefolder",
        summary="train/ and validation/ with metadata.jsonl, for the datasets library and scripts built on it.",
        load="assetforge.builtin.exporters:ImageFolderExporter",
    ),
)

CAPTIONERS: tuple[CaptionerSpec, ...] = (
    CaptionerSpec(
        name="sidecar",
        title="Sidecar files",
        summary="Reads the .txt or .caption file beside a picture.",
        load="assetforge.builtin.captioners:SidecarCaptioner",
    ),
)
