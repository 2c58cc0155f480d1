import gzip
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlmodel import select

from assetforge.db.models_jobs import Comparison, Evaluation, Render
from assetforge.domain.canonical import canonical_json
from assetforge.errors import TryAgainError, UsageError
from assetforge.services import comparison
from assetforge.services.comparison import get_comparison, request_comparison
from assetforge.services.report import write_report
from assetforge.services.report_html import MOST_BYTES
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
    # Every picture is in the file once, whatever shows it.
    assert len(pictures) == len(set(pictures))
    shown_again = [value for _, name, value in page.attributes if name == "data-same"]
    assert shown_again
    assert set(shown_again) <= ids
    for _tag, name, value in page.attributes:
        if name == "href":
            assert value.startswith("#")
            assert value[1:] in ids
    assert not re.search(r"https?://", path.read_text(encoding="utf-8"))
    verdict = info.summary["verdict"]
    assert f"{verdict['headline']}. {info.summary['sentence'].removeprefix(verdict['headline'] + '. ')}" in page.text
    assert "+ 2 added" in page.text
    assert "1 recaptioned" in page.text
    assert "Inconclusive" in page.text
    assert "2 prompts cannot decide anything" in page.text
    assert all(value for tag, name, value in page.attributes if tag == "button" and name == "type")


def test_what_people_wrote_is_text_and_never_markup(world):
    info = world.compare("mara/v2", "mara/v1")
    path = write_report(world.project, info.id)
    raw = path.read_text(encoding="utf-8")
    page = read(path)
    assert "<script>" in page.text
    assert "a better <b>caption</b> [bold]" in page.text
    kinds = [value for tag, name, value in page.attributes if tag == "script" and name == "type"]
    assert page.tags.count("script") == 2
    assert kinds == ["application/json"]
    # Only the hashed script of the page itself may run.
    policy = next(value for _, name, value in page.attributes if name == "content" and "script-src" in value)
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert "<b>caption</b>" not in raw


def test_the_script_is_the_one_that_the_policy_allows(world):
    import base64
    import hashlib

    raw = write_report(world.project, world.compare("mara/v2").id).read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>\s*</body>", raw, re.DOTALL).group(1)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in raw


def test_a_first_version_and_a_report_elsewhere(world, tmp_path):
    info = world.compare("mara/v1", metrics=["ssim"])
    path = write_report(world.project, info.id, tmp_path / "deep" / "sheet.html")
    page = read(path)
    assert "against the bare base" in page.text
    assert "First version" in page.text
    assert "Not measured: likeness" in page.text
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


def as_json(world, info):
    path = write_report(world.project, info.id, world.folder / "report.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_report_as_json(world):
    info = world.compare("mara/v2", "mara/v1")
    document = as_json(world, info)
    assert document["schema"] == "assetforge/report/1"
    assert document["outcome"] == "inconclusive"
    assert document["verdict"] == info.summary["verdict"]
    assert len(document["cells"]) == 8
    assert sorted(document["worst"]) == list(range(8))
    blobs = world.project.blobs
    assert all(blobs.path(sha256).is_file() for cell in document["cells"] for sha256 in cell["renders"].values())
    held_out = {one["sha256"] for one in document["references"]}
    assert all(set(cell["nearest"]) <= held_out for cell in document["cells"])
    assert any(cell["nearest"] for cell in document["cells"])
    assert len(document["lineage"]["changes"]["added"]) == 2
    assert document["lineage"]["changes"]["recaptioned"][0]["after"] == "a better <b>caption</b> [bold]"
    assert document["engines"][0]["sides"] == ["new", "baseline", "base control"]
    # Only a page is the film's own report.
    assert get_comparison(world.project, info.id).report == ""


def test_the_report_as_markdown(world, tmp_path):
    info = world.compare("mara/v2", "mara/v1")
    text = write_report(world.project, info.id, tmp_path / "sheet.MD").read_text(encoding="utf-8")
    assert text.startswith("## ◐ Inconclusive: mara/v2 against mara/v1\n")
    assert "| metric | change | interval | margin | prompts | says |" in text
    assert "| Probe |" in text
    assert "**Worst cells**" in text
    assert "Between the datasets: 2 added, 1 recaptioned." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count(" | ") for line in rows if line.startswith(("| cell", "| 0", "| 1"))}) == 1


def test_markdown_of_a_first_version_without_a_metric(world, tmp_path):
    info = world.compare("mara/v1", metrics=["ssim"])
    text = write_report(world.project, info.id, tmp_path / "sheet.md").read_text(encoding="utf-8")
    assert text.startswith("## ○ First version: mara/v1 against the bare base\n")
    assert "Not measured: likeness." in text
    assert "**Cells that changed most**" in text


def test_what_people_wrote_is_text_in_markdown(world, tmp_path):
    info = world.compare("mara/v2", "mara/v1")
    rewrite(world, info, lambda cell: {**cell, "prompt": "a | b\n# <script>alert(1)</script> `x` [y](z)"})
    text = write_report(world.project, info.id, tmp_path / "sheet.md").read_text(encoding="utf-8")
    assert r"a \| b \# \<script\>alert(1)\</script\> \`x\` \[y\](z)" in text
    page = read(write_report(world.project, info.id))
    assert page.tags.count("script") == 2
    assert "<script>alert(1)</script>" in page.text


def test_another_kind_of_file_is_refused(world, tmp_path):
    info = world.compare("mara/v2", "mara/v1")
    with pytest.raises(UsageError, match=r"\.html, \.md or \.json"):
        write_report(world.project, info.id, tmp_path / "sheet.pdf")
    assert not (tmp_path / "sheet.pdf").exists()


def test_a_comparison_of_an_older_film_is_shown_without_a_verdict(world):
    info = world.compare("mara/v2", "mara/v1")
    with world.project.write() as session:
        row = session.get_one(Comparison, info.id)
        row.summary = {key: value for key, value in row.summary.items() if key not in ("verdict", "rounds", "unready")}
        session.add(row)
    page = read(write_report(world.project, info.id))
    assert "Not judged" in page.text
    assert "before there were verdicts" in page.text
    assert as_json(world, info)["verdict"] is None


SUITE_WITH_RESERVE = """
name = "more"
title = "With a reserve"
family = "sd15"
asset_types = ["character"]
width = 32
height = 32

[[blocks]]
name = "core"
prompts = ["{trigger} {class} on a hill", "{trigger} {class} at night"]
reserve = ["{trigger} {class} in rain", "{trigger} {class} in snow"]
seeds = [1, 2]
"""


def test_two_looks_are_one_report(world, tmp_path):
    from assetforge.services.suites import add_suite

    path = tmp_path / "more.toml"
    path.write_text(SUITE_WITH_RESERVE)
    add_suite(world.project, path)
    first = world.compare("mara/v2", "mara/v1", suite="more")
    second = get_comparison(world.project, first.extended_by)
    while second.jobs:
        for job in second.jobs:
            {"render": world.render, "score": world.score}[world.job(job).kind](job, tmp_path / f"job{job}")
        second = get_comparison(world.project, second.id)
    document = as_json(world, second)
    assert [(one["comparison"], one["cells"], one["prompts"]) for one in document["rounds"]] == [
        (first.id, 4, 2),
        (second.id, 4, 2),
    ]
    assert [cell["index"] for cell in document["cells"]] == list(range(8))
    page = read(write_report(world.project, second.id))
    assert {f"c{index}" for index in range(8)} <= {value for _, name, value in page.attributes if name == "id"}
    assert "Suite more, 2 looks" in page.text


def rewrite(world, info, change):
    """Put other cells into the file of scores of a comparison."""
    with world.project.write() as session:
        row = session.get_one(Comparison, info.id)
        document = json.loads(gzip.decompress(world.project.blobs.path(row.scores).read_bytes()))
        document["cells"] = [change(cell) for cell in document["cells"]]
        row.scores = world.project.blobs.put_bytes(gzip.compress(canonical_json(document), mtime=0))
        session.add(row)


@pytest.mark.slow
def test_two_hundred_large_pictures_stay_below_the_limit(world):
    """One picture out of a camera is about 250 kB as WebP at this size; the noise here is of that kind."""
    info = world.compare("mara/v2", "mara/v1")
    coarse = np.random.default_rng(1).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    calm = np.asarray(Pillow.fromarray(coarse).resize((512, 512), Pillow.Resampling.BICUBIC), float)
    rng = np.random.default_rng(2)

    def photograph():
        buffer = io.BytesIO()
        pixels = np.clip(calm + rng.normal(0, 22, calm.shape), 0, 255).astype(np.uint8)
        Pillow.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
        return world.project.blobs.put_bytes(buffer.getvalue())

    document = {}
    with world.project.write() as session:
        row = session.get_one(Comparison, info.id)
        document = json.loads(gzip.decompress(world.project.blobs.path(row.scores).read_bytes()))
        template = next(cell for cell in document["cells"] if cell["block"] == "core")
        document["cells"] = [
            {**template, "index": index, "control_index": index, "prompt": f"prompt {index}"} for index in range(67)
        ]
        row.scores = world.project.blobs.put_bytes(gzip.compress(canonical_json(document), mtime=0))
        for number in (row.evaluation_id, row.baseline_evaluation_id, row.control_evaluation_id):
            evaluation = session.get_one(Evaluation, number)
            settings = {**evaluation.plan["settings"], "width": 512, "height": 512}
            evaluation.plan = {**evaluation.plan, "settings": settings}
            for render in session.exec(select(Render).where(Render.evaluation_id == number)).all():
                session.delete(render)
            session.flush()
            for index in range(67):
                session.add(
                    Render(
                        evaluation_id=number,
                        cell_index=index,
                        block="core",
                        prompt=f"prompt {index}",
                        seed=1,
                        strength=1.0,
                        sha256=photograph(),
                    )
                )
        session.add(row)
    path = write_report(world.project, info.id)
    assert 3_000_000 < path.stat().st_size < MOST_BYTES
