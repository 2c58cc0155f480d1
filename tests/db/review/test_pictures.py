import io

import numpy as np
import pytest
from PIL import Image as Pillow

from assetforge.errors import StorageError
from assetforge.services.pictures import framed_png, open_rgb


def pixels(data):
    return np.asarray(Pillow.open(io.BytesIO(data)))


def test_references_are_upright_cropped_and_framed(tmp_path):
    stored = np.zeros((40, 80, 3), np.uint8)
    stored[:, 40:] = (200, 10, 10)
    exif = Pillow.Exif()
    exif[0x0112] = 6  # shown, the picture is turned clockwise: the red half is the lower one
    path = tmp_path / "turned.png"
    Pillow.fromarray(stored).save(path, exif=exif)
    upright = open_rgb(path)
    assert upright.size == (40, 80)
    assert upright.getpixel((20, 70)) == (200, 10, 10)
    data = framed_png(path, "0,40,40,80", 32, 32)
    assert pixels(data).shape == (32, 32, 3)
    assert (pixels(data) == (200, 10, 10)).all()
    assert data == framed_png(path, "0,40,40,80", 32, 32)


def test_transparency_lies_on_white_and_sixteen_bits_are_scaled(tmp_path):
    clear = tmp_path / "clear.png"
    Pillow.new("RGBA", (8, 8), (0, 0, 0, 0)).save(clear)
    assert open_rgb(clear).getpixel((0, 0)) == (255, 255, 255)
    deep = tmp_path / "deep.png"
    Pillow.fromarray(np.full((8, 8), 32768, np.uint16)).save(deep)
    assert open_rgb(deep).getpixel((0, 0)) == pytest.approx((128, 128, 128), abs=1)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(StorageError, match=r"broken\.png"):
        open_rgb(path)
    with pytest.raises(StorageError):
        open_rgb(tmp_path / "missing.png")
