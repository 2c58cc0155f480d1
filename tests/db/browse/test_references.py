from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image as Pillow

from assetforge.db.browse.captions import count_tags
from assetforge.db.browse.reader import Reader
from assetforge.db.browse.references import (
    REFERENCE_SORTS,
    caption_tags,
    finding_context,
    reference_counts,
    reference_ids,
    reference_names,
    reference_rows,
)
from assetforge.domain.reference_findings import FindingContext, reference_findings
from assetforge.domain.search_language import REFERENCE_FIELDS, Search, parse_search
from assetforge.services.assets import add_asset
from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.reference_settings import set_references
from assetforge.services.references import exclude_reference, get_reference, list_references

FIELDS = (
    *(
        "id",
        "address",
        "asset",
        "sha256",
        "state",
        "excluded_reason",
        "file_name",
        "caption",
        "caption_source",
        "rights",
    ),
    *(
        "origin",
        "crop",
        "mask",
        "repeats",
        "split",
        "near_group",
        "width",
        "height",
        "format",
        "size",
        "sharpness",
        "brightness",
    ),
)


def ask(reader, text, now, asset_id=None, sort="added", descending=False):
    search = parse_search(text, REFERENCE_FIELDS)
    assert not search.problems
    return list(reference_ids(reader, asset_id, search, sort, descending, now))


def expected(reader, condition, order="r.id", asset_id=None):
    where = f"({condition})" + (f" AND r.asset_id = {asset_id}" if asset_id else "")
    sql = f"SELECT r.id FROM reference r JOIN image i ON i.sha256 = r.sha256 JOIN asset a ON a.id = r.asset_id WHERE {where} ORDER BY {order}, r.id"
    return [row[0] for row in reader.rows(sql)]


@pytest.mark.parametrize("asset_id", [None, 1, 2])
@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("", "1"),
        ("state:active", "r.state = 'active'"),
        ("-state:active", "r.state != 'active'"),
        ("caption:missing", "r.caption = ''"),
        ("caption:lamp", "r.caption LIKE '%lamp%'"),
        ("rights:none", "r.rights = ''"),
        ("rights:studio", "r.rights LIKE '%studio%'"),
        ("split:held", "r.split = 'held_out'"),
        ("split:train,held-out", "r.split IN ('train', 'held_out')"),
        ("split:none", "r.split = ''"),
        ("width:>600", "i.width > 600"),
        ("width:>600 state:active", "i.width > 600 AND r.state = 'active'"),
        ("-width:>600 height:<=400", "i.width <= 600 AND i.height <= 400"),
        ("sharpness:<100 tag:rain", "i.sharpness < 100 AND r.caption LIKE '%rain%'"),
        ("format:png", "i.format = 'PNG'"),
        ("format:jpg,webp", "i.format IN ('JPEG', 'WEBP')"),
        ('origin:"shoot 2"', "r.origin = 'shoot 2'"),
        ("file:00012", "r.file_name LIKE '%00012%'"),
        ("near:yes", "r.near_group IS NOT NULL"),
        ("near:no", "r.near_group IS NULL"),
        ("mask:yes", "r.mask != ''"),
        ("added:<30d", "r.added_at >= '2026-10-28 12:00:00.000000'"),
        ("added:>2026-11-01", "r.added_at >= '2026-11-02 00:00:00.000000'"),
        ("added:2026-11-20", "r.added_at LIKE '2026-11-20%'"),
        ("harbour night", "r.caption LIKE '%harbour%' AND r.caption LIKE '%night%'"),
        ("-img_00001", "r.file_name NOT LIKE 'IMG_00001%'"),
    ],
)
def test_what_a_search_finds(reader, now, asset_id, text, condition):
    found = ask(reader, text, now, asset_id)
    assert found == expected(reader, condition, asset_id=asset_id)


@pytest.mark.parametrize("asset_id", [None, 1, 2])
def test_every_order_both_ways(reader, now, asset_id):
    orders = {
        "added": "r.id", "file": "lower(r.file_name)", "caption": "lower(substr(r.caption, 1, 40))", "rights": "r.rights", "origin": "r.origin", "asset": "a.name",
        "state": "r.state", "near": "coalesce(r.near_group, 1 << 31)", "sharpness": "CAST(i.sharpness * 1000 AS INT)", "brightness": "CAST(i.brightness * 100000 AS INT)", "width": "i.width",
        "height": "i.height", "size": "i.width * i.height", "format": "i.format",
        "split": "CASE r.split WHEN 'train' THEN 1 WHEN 'held_out' THEN 2 ELSE 3 END",
    }  # fmt: skip
    assert set(orders) == set(REFERENCE_SORTS)
    for sort, order in orders.items():
        wanted = expected(reader, "r.state = 'active'", order, asset_id)
        assert ask(reader, "state:active", now, asset_id, sort) == wanted, sort
        assert ask(reader, "state:active", now, asset_id, sort, descending=True) == wanted[::-1], sort
        assert ask(reader, "", now, asset_id, sort) == expected(reader, "1", order, asset_id), sort


def test_digits_of_the_hash_find_a_reference(reader, now):
    row = reference_rows(reader, [7])[7]
    assert ask(reader, row.sha256[:10], now) == [7]
    with pytest.raises(KeyError):
        reference_ids(reader, None, Search(), "nonsense", False, now)


def test_text_is_never_sql_or_a_pattern(reader, now):
    for text in ("'", '";--', "%", "_", "\\", "*", "[a-z]", "100%", "a'b"):
        for field in ("", "tag:", "caption:", "file:", "rights:", "origin:", "format:"):
            search = parse_search(field + text.replace('"', ""), REFERENCE_FIELDS)
            found = reference_ids(reader, 1, search, "added", False, now)
            if field in ("", "tag:") and search.terms:
                assert text == "_" or not len(found), (field, text)


def test_counts_and_a_page(reader):
    for asset_id in (None, 1, 2):
        where = f"asset_id = {asset_id}" if asset_id else "1"

        def count(condition, where=where):
            return reader.row(f"SELECT count(*) FROM reference WHERE {where} AND {condition}")[0]

        counts = reference_counts(reader, asset_id)
        assert counts.active == count("state = 'active'")
        assert counts.excluded == count("state = 'excluded'")
        assert counts.held_out == count("state = 'active' AND split = 'held_out'")
        assert counts.without_caption == count("state = 'active' AND caption = ''")
        assert counts.without_rights == count("state = 'active' AND rights = ''")
        groups = reader.rows(
            f"SELECT count(*) FROM reference WHERE {where} AND state = 'active' AND near_group IS NOT NULL GROUP BY asset_id, near_group"
        )
        assert counts.near_groups == sum(row[0] > 1 for row in groups)
    assert reference_counts(reader, 1).near_groups > 0
    assert list(reference_rows(reader, [9, 3, 99_999_999])) == [9, 3]
    nothing = reference_counts(reader, 12345)
    assert (nothing.active, nothing.excluded, nothing.held_out, nothing.near_groups) == (0, 0, 0, 0)


def test_a_row_says_what_services_say(project, make_png, tmp_path, now):
    add_asset(project, "mara", "character")
    for seed in range(3):
        make_png(tmp_path / "in" / f"Façade [{seed}].png", seed)
    glass = np.zeros((40, 60, 4), np.uint8)
    Pillow.fromarray(glass).save(tmp_path / "in" / "glass.png")
    add_references(project, "mara", [tmp_path / "in"], origin="set stills")
    addresses = [one.address for one in list_references(project, "mara").items]
    set_caption(project, addresses[0], "in the rain [/b]\nsecond line")
    set_references(project, addresses[:2], rights="cleared", repeats=3)
    freeze(project, "mara")
    exclude_reference(project, addresses[3], "blurred")
    reader = Reader(project.paths.database)
    ids = reference_ids(reader, 1, Search(), "added", False, datetime.now(UTC))
    rows = reference_rows(reader, ids)
    assert len(rows) == 4
    for row in rows.values():
        info = get_reference(project, row.address)
        assert [getattr(row, field) for field in FIELDS] == [getattr(info, field) for field in FIELDS]
        assert row.added_at == info.added_at.replace(microsecond=0).isoformat()
        assert row.in_dataset
    assert [row.transparent for row in rows.values()].count(True) == 1
    found = {
        text: len(ask(reader, text, now))
        for text in (
            "file:façade",
            "file:FAÇADE",
            "façade",
            "file:[",
            "caption:[/b]",
            "origin:stills",
            "rights:cleared",
        )
    }
    assert found == {
        "file:façade": 3,
        "file:FAÇADE": 3,
        "façade": 3,
        "file:[": 3,
        "caption:[/b]": 1,
        "origin:stills": 4,
        "rights:cleared": 2,
    }
    make_png(tmp_path / "more.png", 77)
    add_references(project, "mara", [tmp_path / "more.png"])
    newest = ask(reader, "", now)[-1]
    assert not reference_rows(reader, [newest])[newest].in_dataset
    reader.close()


def test_tags_of_captions(rows, empty):
    captions = ["Rain, red coat,  night ", "rain, Night", "a woman in the rain", "", "snow, rain"]
    for number, caption in enumerate(captions):
        state = "excluded" if caption.startswith("snow") else "active"
        rows.put("reference", asset_id=1 + number % 2, sha256=str(number), state=state, caption=caption)
    assert caption_tags(empty, None, 10) == [("rain", 3), ("night", 2), ("red coat", 1), ("woman", 1)]
    assert caption_tags(empty, None, 1) == [("rain", 3)]
    assert caption_tags(empty, 1, 10) == [("rain", 2), ("night", 1), ("red coat", 1), ("woman", 1)]
    assert caption_tags(empty, 99, 10) == []
    assert count_tags([]) == {}
    assert count_tags(["Straße, STRASSE"]) == {"strasse": 2}


def test_findings(reader):
    context = finding_context(reader, 1)
    values = sorted(
        row[0]
        for row in reader.rows(
            "SELECT i.sharpness FROM reference r JOIN image i USING (sha256) WHERE r.asset_id = 1 AND r.state = 'active'"
        )
    )
    assert context.median_sharpness == pytest.approx(values[len(values) // 2], abs=0.01)
    # One that was never trained is held against the base of the film's last run.
    assert finding_context(reader, 4711) == FindingContext(resolution=1024)


def test_pictures_are_held_against_the_base_that_their_asset_was_trained_on(rows, empty):
    assert finding_context(empty, 1) == FindingContext()
    for number, side in ((1, 64), (2, 1024), (3, 0)):
        rows.put("base_model", id=number, name=f"base {number}", digest=str(number), resolution=side)
        rows.put("run", asset_id=number, base_model_id=number, state="succeeded", cause="by hand")
    assert [finding_context(empty, asset).resolution for asset in (1, 2, 3, 4)] == [64, 1024, 1024, 1024]


def test_names_of_pictures(rows, empty):
    for asset, sha256, name in ((1, "aa", "a [b].png"), (1, "bb", "b.png"), (2, "cc", "c.png")):
        rows.put("reference", asset_id=asset, sha256=sha256, file_name=name, state="active")
    assert reference_names(empty, 1, ["aa", "cc", "dd"]) == {"aa": "a [b].png"}
    assert reference_names(empty, 1, []) == {}


class Good:
    caption, rights = "in the rain", "cleared"
    width, height = 1024, 768
    sharpness, brightness = 300.0, 0.5
    near_group = None
    transparent = False


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
        ({"height": 511}, ("smaller than 512 px",)),
        ({"sharpness": 74.9}, ("blurred compared with the others",)),
        ({"sharpness": 75.0}, ()),
        ({"brightness": 0.05}, ("very dark",)),
        ({"brightness": 0.95}, ("very bright",)),
        ({"near_group": 3}, ("much like another one",)),
        ({"transparent": True}, ("has transparency",)),
        ({"caption": " ", "rights": ""}, ("no caption", "no rights")),
    ],
)
def test_a_finding_is_a_short_phrase(changes, said):
    row = type("Row", (Good,), changes)()
    assert reference_findings(row, FindingContext(median_sharpness=300.0)) == said
