import json

import pytest

SIZES = [(1440, 900), (390, 844)]
STAGE = "document.getElementById('stage').dataset"
VIEWER = "document.getElementById('viewer')"
PRESSED = "document.querySelector('#viewer [aria-pressed=true]')?.dataset.do ?? ''"


def facts(look):
    return json.loads(look.get("document.getElementById('facts').textContent"))


def shown_picture(look, pane):
    return look.get(f"document.querySelector('[data-pane={pane}] img').src")


def source_of(look, name):
    return look.get(f"document.getElementById('{name}').src")


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_page_fits_and_says_the_verdict(look, make_report, width, height, light):
    path = make_report()
    look.open(path, width, height, light=light)
    look.get("for (const image of document.images) image.loading = 'eager'")
    look.get("Promise.all([...document.images].filter((one) => one.src).map((one) => one.decode())).then(() => true)")
    assert look.get("document.documentElement.scrollWidth") == width
    assert look.get("[...document.querySelectorAll('main img')].every((one) => one.naturalWidth > 0)")
    assert look.get("document.querySelector('h1 .word').textContent") == "Regressed"
    # Word, colour and shape: a triangle for a regression.
    assert look.get("document.querySelector('.verdict .shape').classList.contains('regressed')")
    background = look.get("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(245, 241, 233)" if light else "rgb(18, 16, 14)")
    # Small pictures are shown with hard pixels.
    assert look.get("getComputedStyle(document.querySelector('.pic img')).imageRendering") == "pixelated"
    assert look.get("document.querySelectorAll('.forest li.metric svg.mark').length") == 2
    assert "not measured" in look.get("document.querySelector('.guards').innerText")
    for key in ("1", "s", "d"):
        look.press(key)
        assert look.get("document.documentElement.scrollWidth") == width
        assert look.get("document.getElementById('viewer').scrollWidth") == width
        box = look.get(
            "(({x, right, bottom}) => [x, right, bottom])(document.getElementById('stage').getBoundingClientRect())"
        )
        assert box[0] >= 0
        assert box[1] <= width
        assert box[2] <= height
    look.until(f"{STAGE}.difference")


@pytest.mark.parametrize(("mean", "word", "shape"), [(0.01, "Pass", "circle"), (-0.015, "Inconclusive", "path")])
def test_other_verdicts_have_other_shapes(look, make_report, mean, word, shape):
    look.open(make_report(mean), 1440, 900)
    assert look.get("document.querySelector('h1 .word').textContent") == word
    assert look.get(f"document.querySelector('.verdict .shape {shape}.fill') !== null")


def test_the_keyboard_alone_does_everything(look, make_report):
    look.open(make_report(), 1440, 900)
    known = facts(look)
    look.press("1")
    assert look.get(f"{VIEWER}.open")
    assert look.get(f"{VIEWER}.dataset.cell") == str(known["order"][0])
    assert look.get(f"{STAGE}.mode") == "side"
    assert look.get(f"{STAGE}.shown") == "a b"
    cell = known["cells"][str(known["order"][0])]
    assert shown_picture(look, "a") == source_of(look, cell["pictures"]["new"])
    assert shown_picture(look, "b") == source_of(look, cell["pictures"]["baseline"])
    look.press("j", "ArrowRight", "k")
    assert look.get(f"{VIEWER}.dataset.cell") == str(known["order"][1])
    look.press("4")
    assert look.get(f"{VIEWER}.dataset.cell") == str(known["order"][3])
    look.press("c")
    assert look.get(f"{STAGE}.shown") == "a b c"
    look.press("c", "b")
    assert look.get(f"[{STAGE}.mode, {STAGE}.shown]") == ["blink", "b"]
    look.press("b")
    assert look.get(f"{STAGE}.shown") == "a"
    look.press(" ")
    assert look.get(f"{STAGE}.shown") == "b"
    assert look.get(PRESSED) == "blink"
    look.press("c")
    assert look.get(f"{STAGE}.shown") == "c"
    look.press("c", "s")
    assert look.get(f"{STAGE}.mode") == "slider"
    assert look.get("document.activeElement.id") == "divide"
    look.press("ArrowRight", "ArrowRight")
    assert look.get("document.getElementById('divide').value") == "52"
    assert look.get("document.getElementById('divide').getAttribute('aria-valuetext')") == "52 % v2, 48 % v1"
    assert look.get("document.getElementById('stage').style.getPropertyValue('--at')") == "52%"
    look.press("s")
    assert look.get(f"{STAGE}.mode") == "side"
    look.press("?")
    assert look.get("document.getElementById('help').open")
    look.press("Escape")
    assert look.get(f"[document.getElementById('help').open, {VIEWER}.open]") == [False, True]
    look.press("Escape")
    assert not look.get(f"{VIEWER}.open")
    # Back where that cell is shown in the report; browsers tell the page a moment later that a dialog was closed.
    look.until(f"document.activeElement.dataset.cell === '{known['order'][3]}'")


def test_the_difference_is_that_of_the_two_pictures(look, make_report):
    look.open(make_report(), 1440, 900)
    look.press("1", "d")
    look.until(f"{STAGE}.difference")
    mean = float(look.get(f"{STAGE}.difference"))
    assert 0.0 < mean < 1.0
    bright = (
        "(() => { const canvas = document.querySelector('#stage canvas');"
        " const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        " return data.reduce((sum, value, at) => at % 4 === 3 ? sum : sum + value, 0) / data.length; })()"
    )
    before = look.get(bright)
    look.press("+")
    look.until(f"{bright} > {before}")
    assert "× 8" in look.get("document.querySelector('[data-pane=difference] figcaption').textContent")
    assert float(look.get(f"{STAGE}.difference")) == mean
    look.press("c")
    look.until(f"{STAGE}.difference !== '{mean:.5f}'")
    assert "base" in look.get("document.querySelector('[data-pane=difference] figcaption').textContent")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_divider_follows_the_mouse(look, make_report, width, height):
    look.open(make_report(), width, height)
    look.press("1")
    if look.get(f"{STAGE}.mode") != "slider":
        look.press("s")
    box = "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('[data-pane=a] img').getBoundingClientRect())"
    x, y, wide, high = look.get(box)
    look.drag((x + wide / 2, y + high / 2), (x + wide / 5, y + high / 2))
    assert look.get("document.getElementById('divide').value") == "20"
    clip = look.get("getComputedStyle(document.querySelector('[data-pane=a] img')).clipPath")
    assert clip.startswith("inset(0")
    line = look.get("document.getElementById('divider').getBoundingClientRect().x")
    assert abs(line - x) < 1.5


def test_blind_votes_hide_who_is_who(look, make_report):
    look.open(make_report(), 1440, 900)
    look.get("localStorage.clear()")
    look.open(make_report(), 1440, 900)
    known = facts(look)
    look.press("v")
    words = look.get(f"{VIEWER}.innerText + [...document.querySelectorAll('#stage img')].map((one) => one.alt).join()")
    for name in ("v1", "v2", "−0.", "+0."):
        assert name not in words
    voted = []
    for key in ("1", "2", "3"):
        cell = look.get(f"{VIEWER}.dataset.cell")
        pictures = known["cells"][cell]["pictures"]
        left = next(side for side in ("new", "baseline") if source_of(look, pictures[side]) == shown_picture(look, "a"))
        right = {"new": "baseline", "baseline": "new"}[left]
        look.press(key)
        voted.append((int(cell), left, {"1": left, "2": right, "3": "tie"}[key]))
    assert look.get("document.getElementById('v-count').textContent") == "3 votes"
    look.press("y")
    command = look.get("document.getElementById('votes').value")
    first, body, *_ = command.splitlines()
    assert first.startswith("assetforge review import")
    given = json.loads(body)
    assert given["comparison"] == known["comparison"]
    assert [(vote["cell"], vote["left"], vote["choice"]) for vote in given["votes"]] == voted
    assert all(vote["seconds"] >= 0 for vote in given["votes"])
    look.press("Escape", "v")
    assert "v2" in look.get(f"{VIEWER}.innerText")


def test_votes_outlive_the_page_and_the_order_is_drawn(look, make_report):
    path = make_report()
    look.open(path, 1440, 900)
    look.get("localStorage.clear()")
    lefts = set()
    for _ in range(12):
        look.open(path, 1440, 900)
        look.press("v")
        lefts.add(look.get("document.querySelector('[data-pane=a] img').src"))
    assert len(lefts) > 1
    look.press("1", "Escape")
    look.open(path, 1440, 900)
    assert look.get("ballot.count()") == 1


def test_tab_goes_through_every_cell_with_a_visible_focus(look, make_report):
    look.open(make_report(), 1440, 900, still=True)
    names = []
    for _ in range(60):
        look.press("Tab")
        names.append(
            look.get(
                "[document.activeElement.tagName, document.activeElement.dataset.cell ?? '', getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    assert names[0][0] == "A"
    assert all(outline == "solid" for tag, _cell, outline in names if tag in ("A", "BUTTON"))
    assert {cell for _tag, cell, _outline in names if cell} == set(facts(look)["cells"])
    assert look.get("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_j_and_k_walk_over_the_cells_of_the_page(look, make_report):
    look.open(make_report(), 1440, 900)
    look.press("j", "j", "k")
    first = look.get("document.activeElement.dataset.cell")
    look.press("Enter")
    assert look.get(f"{VIEWER}.dataset.cell") == first


def test_a_first_version_is_shown_beside_the_base(look, make_report):
    look.open(make_report(None), 390, 844)
    assert look.get("document.querySelector('h1 .word').textContent") == "First version"
    assert look.get("document.documentElement.scrollWidth") == 390
    known = facts(look)
    look.press("v")
    assert not look.get(f"{VIEWER}.open")
    look.press("1")
    cell = known["cells"][str(known["order"][0])]
    assert shown_picture(look, "b") == source_of(look, cell["pictures"]["control"])
    look.press("d")
    look.until(f"{STAGE}.difference")


def test_everything_on_the_page_has_a_name(look, make_report):
    look.open(make_report(), 1440, 900)
    look.call("Accessibility.enable")
    nodes = look.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "link", "image", "slider", "dialog", "heading", "region", "navigation")
    unnamed = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in roles
        and not node.get("name", {}).get("value")
    ]
    # References carry their captions beside them.
    assert set(unnamed) <= {"image"}
    look.press("1", "s")
    nodes = look.call("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and "role" in node
    }
    assert ("slider", "divider") in named
    assert ("toolbar", "View") in named
