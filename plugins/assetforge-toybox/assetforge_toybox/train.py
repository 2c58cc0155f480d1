"""Makes everything the toybox ships, from nothing: `python -m assetforge_toybox.train --out FOLDER`.

The stages run one after the other and each resumes from its last checkpoint in FOLDER: pictures, autoencoder, reader,
probe, base. At the end FOLDER/data has what the package carries in its own data folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from assetforge_toybox.reader import Reader
from assetforge_toybox.training.autoencoder import new_pictures, psnr, train_autoencoder
from assetforge_toybox.training.base import train_base
from assetforge_toybox.training.pictures import draw_pictures
from assetforge_toybox.training.probe import train_probe
from assetforge_toybox.training.reader import reader_accuracy, train_reader

PICTURES = {"scenes": 24_000, "doodles": 4_000, "shots": 6_000}
AUTOENCODER_STEPS, AUTOENCODER_BROAD_STEPS = 3_500, 1_000
READER_STEPS = 1_500
PROBE_STEPS = 1_000
BASE_STEPS = 16_000
STAGES = ("autoencoder", "reader", "probe", "base")


def train_all(out: Path, stages: tuple[str, ...], workers: int, base_steps: int, compiled: bool) -> Path:
    """Run the stages in `out` and return the folder with what the package ships."""
    out.mkdir(parents=True, exist_ok=True)
    data = out / "data"
    data.mkdir(exist_ok=True)
    pictures = draw_pictures(out, PICTURES, workers)
    if "autoencoder" in stages:
        model = train_autoencoder(out / "autoencoder", pictures, AUTOENCODER_STEPS, AUTOENCODER_BROAD_STEPS)
        model.save_pretrained(out / "vae")
        print(
            json.dumps(
                {
                    "stage": "autoencoder",
                    "psnr_db_500_new": round(psnr(model, new_pictures(500, 2)), 2),
                    "scaling_factor": model.config.scaling_factor,
                }
            ),
            flush=True,
        )
    if "reader" in stages:
        shutil.copy2(train_reader(out / "reader", pictures["scenes"], READER_STEPS), data)
        print(json.dumps({"stage": "reader", **reader_accuracy(Reader(data / "reader.safetensors"))}), flush=True)
    if "probe" in stages:
        shutil.copy2(train_probe(out / "probe", PROBE_STEPS, workers), data)
    if "base" in stages:
        autoencoder = AutoencoderKL.from_pretrained(out / "vae").eval()
        pipeline = train_base(out / "base", autoencoder, pictures["scenes"], base_steps, compiled=compiled)
        shutil.copytree(pipeline, data / "base", dirs_exist_ok=True)
    return data


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m assetforge_toybox.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, logs and results")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="which stages to run")
    parser.add_argument("--threads", type=int, default=1, help="threads to compute with")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw pictures")
    parser.add_argument("--base-steps", type=int, default=BASE_STEPS)
    parser.add_argument("--compile", action="store_true", help="compile the base for speed (needs a C++ compiler)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    data = train_all(chosen.out, tuple(chosen.stages), chosen.workers, chosen.base_steps, chosen.compile)
    print(json.dumps({"data": str(data)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
