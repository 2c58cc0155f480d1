"""Crops: inside the picture, at least a pixel, one form for equal material."""

import pytest

from assetforge.domain.crop import checked_crop, parse_crop
from assetforge.errors import UsageError


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("0,0,640,479", "0,0,640,479"),
        (" 10, 20 ,11 , 21 ", "10,20,11,21"),
        ("007,0,64,48", "7,0,64,48"),
        ("639,479,640,480", "639,479,640,480"),
        ("0,0,640,480", ""),
        ("none", ""),
        ("None", ""),
        ("", ""),
    ],
)
def test_what_is_stored(text: str, stored: str) -> None:
    assert checked_crop(text, width=640, height=480, of="mara/ref/3f9a1c") == stored
    assert checked_crop(stored, width=640, height=480, of="mara/ref/3f9a1c") == stored
    box = parse_crop(stored)
    assert box is None or ",".join(map(str, box)) == stored


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,0,641,480", "reaches beyond mara/ref/3f9a1c, which is 640x480"),
        ("0,0,640,481", "reaches beyond"),
        ("-1,0,640,480", "reaches beyond"),
        ("10,10,10,20", "holds no pixel"),
        ("20,10,10,20", "holds no pixel"),
        ("10,30,20,20", "holds no pixel"),
        ("1,2,3", "is not a crop"),
        ("1,2,3,4,5", "is not a crop"),
        ("1.5,2,3,4", "is not a crop"),
        ("10x20+3+4", "is not a crop"),
        ("٣,0,5,5", "is not a crop"),
        ("1,2,3,99999999999999999999", "is not a crop"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        checked_crop(text, width=640, height=480, of="mara/ref/3f9a1c")
