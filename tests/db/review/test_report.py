import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image as Pillow

from assetforge.errors import TryAgainError
from assetforge.services import comparison
from assetforge.services.comparison import get_comparison, request_comparison
from assetforge.services.report import write_report
from assetforge.services.report_images import ReportImages


class Parsed(html.parser.HTMLParser):
    """What a browser would see: tags, attributes, text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read(path):
    return Parsed(path.read_text(encoding="utf-8"))


def test_the_report_shows_every_cell_and_needs_nothing_else(world):
    info = world.compare("mara/v2", "mara/v1")
    path = write_report(world.project, info.id)
    assert path == world.project.root / "reports" / "mara-v2-against-v1-tiny-core.html"
    assert get_comparison(world.project, info.id).report == "reports/mara-v2-against-v1-tiny-core.html"
    page = read(path)
    ids = {value for _, name, value in page.attributes if name == "id"}
    assert {f"c{index}" for index in range(8)} <= ids
    pictures = [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
    assert len(pictures) > 8 * 2
    assert all(value.startswith("data:image/webp;base64,") for value in pictures)
    for _tag, name, value in page.attributes:
        if name == "href":
            assert value.startswith("#")
            assert value[1:] in ids
    assert not re.search(r"https?://", path.read_text(encoding="utf-8"))
    assert info.summary["sentence"] in page.text
    assert "2 added" in page.text
    assert "1 recaptioned" in page.text
    assert all(value for tag, name, value in page.attributes if tag == "button" and name == "type")


def test_what_people_wrote_is_text_and_never_markup(world):
    info = world.compare("mara/v2", "mara/v1")
    path = write_report(world.project, info.id)
    raw = path.read_text(encoding="utf-8")
    page = read(path)
    assert "<script>" in page.text
    assert "a better <b>caption</b> [bold]" in page.text
    assert page.tags.count("script") == 1
    # Only the hashed script of the page itself may run.
    policy = next(value for _, name, value in page.attributes if name == "content" and "script-src" in value)
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert "<b>caption</b>" not in raw


def test_the_script_is_the_one_that_the_policy_allows(world):
    import base64
    import hashlib

    raw = write_report(world.project, world.compare("mara/v2").id).read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", raw, re.DOTALL).group(1)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in raw


def test_a_first_version_and_a_report_elsewhere(world, tmp_path):
    info = world.compare("mara/v1", metrics=["ssim"])
    path = write_report(world.project, info.id, tmp_path / "deep" / "sheet.html")
    page = read(path)
    assert "against the bare base" in page.text
    assert "No installed metric can tell" in page.text
    assert get_comparison(world.project, info.id).report == ""


def test_an_unfinished_comparison_has_no_report(world):
    info = request_comparison(world.project, "mara/v2")
    with pytest.raises(TryAgainError):
        write_report(world.project, info.id)
    assert list((world.project.root / "reports").iterdir()) == []


def test_a_metric_that_found_nothing_anywhere_still_gives_a_report(world, tmp_path):
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    world.render(info.jobs[0], tmp_path)
    (job,) = get_comparison(world.project, info.id).jobs
    result = world.score_result(job)
    for key in result.scores["probe"]:
        result.scores["probe"][key] = [0.0, 0.0, 0.0]
    comparison.register_result(world.project, job, result, tmp_path)
    page = read(write_report(world.project, info.id))
    assert "the metric found nothing to measure" in page.text
    assert "nothing to measure" in page.text


def test_pictures_that_compress_badly_get_a_smaller_share(world):
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(noise).save(buffer, format="PNG")
    sha256 = world.project.blobs.put_bytes(buffer.getvalue())
    sizes = [
        len(ReportImages(world.project.blobs, count=330, size=(512, 512), share=share).render(sha256))
        for share in (1.0, 0.5, 0.2)
    ]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] * 330 < 15_000_000
