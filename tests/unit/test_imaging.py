"""What one decode says of every kind of file that a production throws at it."""

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms, ImageFilter

from assetforge.domain.phash import hamming
from assetforge.errors import ImageError
from assetforge.store import formats, imaging
from assetforge.store.imaging import inspect_image, load_srgb


def scene(width: int = 320, height: int = 240, seed: int = 0) -> Pillow.Image:
    rng = np.random.default_rng(seed)
    coarse = Pillow.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    return coarse.resize((width, height), Pillow.Resampling.BICUBIC)


def encoded(picture: Pillow.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        inspect_image(data, name="shot.jpg")
    assert "shot.jpg" in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "BMP", "GIF"])
def test_every_format_is_known_by_its_bytes(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(scene(), kind)
    said = inspect_image(data, name="wrong-name.txt")
    assert (said.format, said.width, said.height, said.decodes) == (kind, 320, 240, 1)
    assert said.sha256 == hashlib.sha256(data).hexdigest()
    assert hamming(said.phash, inspect_image(encoded(scene()), name="a").phash) <= 8
    assert Pillow.open(io.BytesIO(said.thumbnail)).size == (256, 192)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    data = encoded(scene(), kind)
    assert refused(data[: int(len(data) * share)]).code in ("truncated", "damaged")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(200, 100), (2000, 1500)])
def test_a_truncated_jpeg_is_found_in_spite_of_shrinking_while_loading(
    size: tuple[int, int], *, progressive: bool
) -> None:
    data = encoded(scene(*size), "JPEG", quality=90, progressive=progressive)
    assert refused(data[:-200]).code == "truncated"
    assert refused(data[: len(data) // 2]).code == "truncated"
    assert refused(data[: len(data) // 2] + bytes(len(data) // 2)).code == "truncated"


def test_damage_in_the_middle_of_a_png_is_found() -> None:
    data = bytearray(encoded(scene()))
    data[len(data) // 2] ^= 0xFF
    assert refused(bytes(data)).code == "damaged"


def test_empty_and_foreign_files_are_refused() -> None:
    assert refused(b"").code == "empty"
    assert refused(b"a caption, not a picture\n").code == "not-an-image"
    assert refused(b"%PDF-1.7\n").code == "not-an-image"
    assert refused(b"\xff\xd8\xff\xe0").code == "truncated"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_more_than_one_frame_is_refused(kind: str) -> None:
    frames = [scene(64, 64, seed) for seed in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    error = refused(data)
    assert error.code == "animated"
    assert "3 frames" in error.message


def bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(60_000, 60_000), (13_400, 13_400), (2_000_000_000, 2)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    assert refused(bomb(*size)).code == "too-large"


def test_a_large_picture_below_the_limit_warns_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 50_000)
    assert inspect_image(encoded(scene()), name="a").width == 320


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "size"), [("JPEG", (640, 400)), ("JPEG", (64, 40)), ("PNG", (64, 40)), ("TIFF", (64, 40))]
)
def test_orientation_is_applied(orientation: int, kind: str, size: tuple[int, int]) -> None:
    values = np.zeros((size[1], size[0], 3), np.uint8)
    values[: size[1] // 2, : size[0] // 2] = (255, 0, 0)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = encoded(Pillow.fromarray(values), kind, exif=exif)
    expected = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    said = inspect_image(data, name="a")
    assert said.orientation == orientation
    assert (said.width, said.height) == (size if orientation < 5 else size[::-1])
    for picture in (load_srgb(data, name="a"), Pillow.open(io.BytesIO(said.thumbnail))):
        assert (picture.width > picture.height) == (orientation < 5)
        quarters = np.asarray(picture.resize((2, 2), Pillow.Resampling.BOX)).astype(int)[..., 0]
        assert np.unravel_index(quarters.argmax(), quarters.shape) == expected


def test_a_profile_is_applied_to_what_is_derived() -> None:
    # A profile with swapped primaries makes the effect unmistakable.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    profile = bytearray(srgb.tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    plain = Pillow.new("RGB", (64, 64), (250, 10, 10))
    for kind in ("PNG", "JPEG"):
        data = encoded(plain, kind, icc_profile=bytes(profile))
        red_value, green_value, _ = load_srgb(data, name="a").getpixel((5, 5))
        assert green_value > 200 > 100 > red_value
        assert inspect_image(data, name="a").has_profile
    broken = encoded(plain, "PNG", icc_profile=b"not a profile")
    assert load_srgb(broken, name="a").getpixel((5, 5)) == (250, 10, 10)


def test_cmyk_is_handled() -> None:
    said = inspect_image(encoded(scene().convert("CMYK"), "JPEG"), name="a")
    assert said.mode == "CMYK"
    assert hamming(said.phash, inspect_image(encoded(scene()), name="a").phash) <= 8


def test_16_bit_is_handled() -> None:
    ramp = np.linspace(0, 65535, 64 * 64, dtype=np.uint16).reshape(64, 64)
    said = inspect_image(encoded(Pillow.fromarray(ramp)), name="a")
    assert (said.bits, said.mode) == (16, "I;16")
    assert said.brightness == pytest.approx(0.5, abs=0.02)
    body = b"".join(b"\0" + struct.pack(">192H", *([65535, 0, 0] * 64)) for _ in range(64))
    png = bomb(64, 64).replace(
        struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0), struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    )
    header = png[:16] + png[16:29] + struct.pack(">I", zlib.crc32(png[12:29]))
    idat = zlib.compress(body)
    tail = struct.pack(">I", len(idat)) + b"IDAT" + idat + struct.pack(">I", zlib.crc32(b"IDAT" + idat))
    deep = header + tail + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    assert inspect_image(deep, name="a").bits == 16
    assert load_srgb(deep, name="a").getpixel((3, 3)) == (255, 0, 0)


def test_float_tiff_is_handled() -> None:
    values = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    values[0, 0] = np.nan
    said = inspect_image(encoded(Pillow.fromarray(values), "TIFF"), name="a")
    assert (said.bits, said.mode) == (32, "F")
    assert said.brightness == pytest.approx(0.5, abs=0.02)


def test_alpha_is_laid_on_white() -> None:
    clear = Pillow.new("RGBA", (40, 40), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 20, 40))
    for data in (encoded(clear), encoded(clear, "WEBP", lossless=True), encoded(clear.quantize(4))):
        assert inspect_image(data, name="a").has_alpha
        shown = load_srgb(data, name="a")
        assert (shown.mode, shown.getpixel((30, 5)), shown.getpixel((5, 5))) == ("RGB", (255, 255, 255), (0, 0, 255))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "YCbCr", "LAB"])
def test_other_modes_are_handled(mode: str) -> None:
    picture = scene(100, 60)
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        picture = ImageCms.applyTransform(picture, to_lab)
    elif mode == "P":
        picture = picture.quantize(32)
    else:
        picture = picture.convert(mode)
    data = encoded(picture, "TIFF" if mode in ("LAB", "YCbCr") else "PNG")
    said = inspect_image(data, name="a")
    assert (said.mode, said.width) == (mode, 100)
    difference = np.abs(
        np.asarray(load_srgb(data, name="a").convert("L"), int) - np.asarray(scene(100, 60).convert("L"), int)
    )
    assert difference.mean() < {"1": 128, "P": 20}.get(mode, 12)


def test_one_pixel_is_a_picture() -> None:
    for kind in ("PNG", "JPEG"):
        said = inspect_image(encoded(Pillow.new("RGB", (1, 1), (255, 255, 255)), kind), name="a")
        assert (said.width, said.height, said.sharpness) == (1, 1, 0.0)
        assert said.brightness == pytest.approx(1.0)
    assert inspect_image(encoded(Pillow.new("RGB", (5000, 1))), name="a").height == 1


def test_sharp_before_a_soft_background_is_sharp() -> None:
    rng = np.random.default_rng(1)
    sharp = Pillow.fromarray(rng.integers(0, 255, (400, 600), dtype=np.uint8)).convert("RGB")
    soft = sharp.filter(ImageFilter.GaussianBlur(8))
    bokeh = soft.copy()
    bokeh.paste(sharp.crop((0, 0, 150, 150)), (220, 120))
    measured = {
        name: inspect_image(encoded(one), name="a").sharpness
        for name, one in (("sharp", sharp), ("soft", soft), ("bokeh", bokeh))
    }
    assert measured["bokeh"] > 0.3 * measured["sharp"] > 10 * measured["soft"]


def test_a_jpeg_with_pictures_behind_the_first_is_one_picture() -> None:
    data = encoded(scene(), "MPO", save_all=True, append_images=[scene(seed=2)])
    assert inspect_image(data, name="a").format == "JPEG"


def test_quick_and_thorough_jpeg_decoders_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    for picture in (scene(2048, 1536), scene(1100, 700).convert("L")):
        data = encoded(picture, "JPEG", quality=90)
        quick = inspect_image(data, name="a")
        with monkeypatch.context() as patch:
            patch.setattr(imaging, "_SIMPLEJPEG", None)
            thorough = inspect_image(data, name="a")
        assert quick.decodes == thorough.decodes == 1
        assert hamming(quick.phash, thorough.phash) <= 2
        assert quick.sharpness == pytest.approx(thorough.sharpness, rel=0.05)


def test_a_missing_reader_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = encoded(scene(), "HEIF")
    monkeypatch.setattr(formats, "readable_formats", lambda: ("JPEG",))
    error = refused(data)
    assert error.code == "no-reader"
    assert "assetforge-film[heif]" in error.hint
