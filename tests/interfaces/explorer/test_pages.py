"""Every page as its reader meets it, in a real browser: loaded, changed, linked, refused, by keyboard, in any light."""

import csv
import json
import os
from pathlib import Path
from urllib.parse import urlencode

import pytest

from markov_icl.interfaces.explorer.pages.views import all_views
from tests.interfaces.explorer.browsing import changed, contrast, readable, ready, shown

VIEWS = all_views()
NAMES = [view.name for view in VIEWS]
EACH = pytest.mark.parametrize("view", VIEWS, ids=NAMES)

OTHERS = {
    ("landscape", "states"): {"beside": {"second": "0"}},
    ("landscape", "first"): {"text": "3"},
    ("landscape", "second"): {"text": "3"},
    ("landscape", "seed"): {"beside": {"third": "random direction"}},
    ("optimum", "prior"): {"text": "dirichlet:1/2"},
    ("landscape", "prior"): {"text": "dirichlet:1/2"},
    ("realizability", "prior"): {"text": "beta:2,1,1,2"},
    ("optimum", "proof"): {"beside": {"length": "3"}},
    ("landscape", "starts"): {"text": "1.4,-0.6"},
    ("layers", "steps"): {"text": "100"},
    ("attention", "steps"): {"text": "40"},
    ("runs", "show"): {"text": "fig4-quick-3"},
}
"""Controls whose next value says nothing by itself: another value, or what stands beside it."""
CHEAP = {
    "layers": {"steps": "50"},
    "attention": {"steps": "20"},
    "landscape": {"starts": "0.5,0.9"},
}
"""What makes a page quick to compute where every control is tried."""
BAD = {"integer": "1.5", "real": "abc", "choice": "nonsense", "points": "1;2", "text": "x" * 401}


def other(view, control):
    """Return a good text of the control that differs from its default."""
    given = OTHERS.get((view.name, control.name), {}).get("text")
    if given is not None:
        return given
    if control.kind == "choice":
        return next(one for one in control.choices if one != control.value)
    if control.kind == "points":
        return control.write(control.value[:-1])
    if control.kind == "text":
        return "other"
    up = control.value + max(control.step, 1 if control.kind == "integer" else control.step)
    return control.write(type(control.value)(up if up <= control.high else control.value - control.step))


def enter(page, control, text):
    """Give a control another text as its reader does."""
    box = page.locator(f"#box-{control.name}")
    if control.kind == "choice":
        box.select_option(text)
    else:
        box.fill(text)
        box.press("Enter")


HEIGHTS = """all => all.map(g => [g.querySelector('.main-svg').clientHeight, parseFloat(g.style.minHeight)])"""
"""Of each picture as it is drawn, and as its view wants it at least, in pixels."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    given = os.environ.get("MARKOV_ICL_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@EACH
def test_a_page_is_whole_in_any_light_and_width(tab, gallery, view):
    page = ready(tab(f"/{view.name}"))
    assert page.title() == f"{view.title} · markov-icl"
    assert page.locator("h1").inner_text() == view.title
    assert page.locator("nav [aria-current=page]").inner_text() == view.title
    assert page.locator("#words").inner_text().strip()
    assert page.locator("#command").inner_text().startswith("markov-icl ")
    assert page.locator(".js-plotly-plot").count() >= 1
    assert all(len(alt) > 20 for alt in page.locator("[role=img]").evaluate_all("all => all.map(a => a.ariaLabel)"))
    for width, height in ((1360, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(600)  # plotly waits before it follows a window that changes
        heights = page.locator(".graph").evaluate_all(HEIGHTS)
        assert all(drawn >= 0.99 * wanted >= 100 for drawn, wanted in heights), heights
        for colours in ("light", "dark"):
            page.emulate_media(color_scheme=colours)
            assert not readable(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=gallery / f"{view.name}-{width}-{colours}.png", full_page=True)
        assert all(box > 180 for box in page.locator(".graph").evaluate_all("all => all.map(g => g.clientWidth)"))


@EACH
def test_each_control_changes_what_is_shown(tab, view):
    page = ready(tab(f"/{view.name}?" + urlencode(CHEAP.get(view.name, {}))))
    for control in view.controls:
        beside = {**CHEAP.get(view.name, {}), **OTHERS.get((view.name, control.name), {}).get("beside", {})}
        page.evaluate(
            "address => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }",
            f"/{view.name}?{urlencode(beside)}",
        )
        before = shown(ready(page))
        enter(page, control, other(view, control))
        changed(page, before)
        assert page.locator(".error:not(:empty)").count() == 0
        assert f"{control.name}=" in page.url


@EACH
def test_a_permalink_restores_everything(tab, view):
    control = view.controls[0]
    beside = OTHERS.get((view.name, control.name), {}).get("beside", {})
    page = ready(tab(f"/{view.name}?" + urlencode(beside)))
    before = shown(page)
    enter(page, control, other(view, control))
    changed(page, before)
    again = ready(tab(page.url[page.url.index(f"/{view.name}") :]))
    changed(again, "")
    assert shown(again) == shown(page)
    boxes = "all => all.map(box => [box.id, box.value])"
    assert again.locator("[id^=box-]").evaluate_all(boxes) == page.locator("[id^=box-]").evaluate_all(boxes)
    assert again.locator("#command").inner_text() == page.locator("#command").inner_text()


@EACH
def test_bad_values_are_refused_beside_their_controls(tab, view):
    bad = {control.name: BAD[control.kind] for control in view.controls}
    page = ready(tab(f"/{view.name}?" + urlencode({**bad, "unknown": "1"})))
    for control in view.controls:
        said = page.locator(f"#control-{control.name} .error").inner_text()
        assert said.startswith("expected "), control.name
        assert "; got " in said
        box = page.locator(f"#box-{control.name}")
        assert box.get_attribute("aria-invalid") == "true"
        assert f"error-{control.name}" in box.get_attribute("aria-describedby")
    assert page.locator(".js-plotly-plot").count() == 0
    page = ready(tab(f"/{view.name}"))
    control, before, address = view.controls[0], shown(page), page.url
    enter(page, control, BAD[control.kind]) if control.kind != "choice" else page.evaluate(
        "id => { const s = document.getElementById(id); s.options[0].value = 'nonsense'; s.selectedIndex = 0;"
        " s.dispatchEvent(new Event('input', { bubbles: true })); }",
        f"box-{control.name}",
    )
    page.wait_for_selector(f"#control-{control.name} .error:not(:empty)")
    ready(page)
    assert shown(page) == before
    assert page.url == address


@EACH
def test_the_keyboard_reaches_everything(tab, view):
    page = ready(tab(f"/{view.name}"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    wanted = {f"box-{control.name}" for control in view.controls} | {"Copy", "CSV", "JSON", "PNG", "SVG"}
    outlined = """() => { for (let n = document.activeElement, k = 0; n && k < 3; n = n.parentElement, k++)
      if (getComputedStyle(n).outlineStyle === 'solid') return true; return false; }"""
    for _ in range(30 + 6 * len(view.controls)):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "[document.activeElement.id, document.activeElement.innerText, document.activeElement.tagName]"
        )
        wanted -= set(here)
        assert here[2] == "BODY" or page.evaluate(outlined), here
        if not wanted:
            break
    assert not wanted


def test_the_keyboard_alone_works(tab):
    page = ready(tab("/optimum"))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.id") == "results"
    assert not any("_dash" in url for url in asked), "a jump within the page loads it anew and undoes what follows"
    page.locator("#slide-p").focus()
    before = shown(page)
    page.keyboard.press("ArrowRight")
    changed(page, before)
    assert page.locator("#box-p").input_value() == "0.51"
    page.locator("nav a", has_text="Realizability").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-picture=map] .main-svg")
    ready(page)
    assert page.evaluate("document.activeElement.id") == "title"
    before = shown(page)
    page.locator("#slide-n").focus()
    page.keyboard.press("ArrowRight")
    changed(page, before)
    page.locator(".links a").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-picture=ladder] .main-svg")
    assert "/optimum?n=11&length=2" in page.url
    page.go_back()
    page.wait_for_selector("[data-picture=map] .main-svg")
    assert ready(page).locator("#box-n").input_value() == "11"


def test_a_click_on_the_map_opens_its_point(tab):
    page = ready(tab("/realizability"))
    page.locator("[data-picture=map] .nsewdrag").click(position={"x": 12, "y": 470})
    page.wait_for_selector("[data-picture=ladder] .main-svg")
    assert ready(page).locator("#box-n").input_value() == "1"
    assert page.locator("#box-length").input_value() == "2"


def test_a_click_on_the_section_adds_a_start(tab):
    page = ready(tab("/landscape"))
    before = shown(page)
    page.locator("[data-picture=section] .nsewdrag").first.click(position={"x": 60, "y": 60})
    changed(page, before)
    assert page.locator("#box-starts").input_value().count(";") == 2
    assert "Path 3" in page.locator("#words").inner_text()
    page.get_by_role("button", name="Clear points").click()
    page.wait_for_function("() => !document.getElementById('words').innerText.includes('Path')")
    assert "starts=" in page.url


def test_exports_hold_what_is_shown(tab, tmp_path):
    page = ready(tab("/optimum?n=7"))

    def saved(name):
        with page.expect_download() as waiting:
            page.locator(f"[data-action={name}]").first.click()
        waiting.value.save_as(tmp_path / name)
        return waiting.value.suggested_filename, (tmp_path / name).read_bytes()

    name, data = saved("picture-png")
    assert name == "optimum-blocks.png"
    assert data.startswith(b"\x89PNG")
    name, data = saved("picture-svg")
    assert data.startswith(b"<svg")
    assert b"block 1" in data
    name, data = saved("numbers-csv")
    rows = list(csv.DictReader(data.decode().splitlines()))
    name, data = saved("numbers-json")
    document = json.loads(data)
    assert name == "optimum.json"
    assert document["values"] == {"n": "7"}
    assert document["command"] == page.locator("#command").inner_text()
    assert [row["quantity"] for row in rows] == [row["quantity"] for row in document["rows"]]
    assert float(rows[1]["value"]) == document["rows"][1]["value"]
    page.locator("[data-action=copy-command]").click()
    assert page.evaluate("navigator.clipboard.readText()") == document["command"]
    page.locator("[data-action=copy-link]").click()
    page.wait_for_function("() => document.getElementById('said').innerText === 'Link copied'")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_slow_work_shows_its_progress_and_is_cancelled(tab):
    page = tab("/realizability?steps=49&most=60")
    page.wait_for_selector("#work:not([hidden]) progress")
    page.wait_for_function("() => +document.getElementById('work-share').value > 0.02", timeout=30_000)
    assert "%" in page.locator("#work-words").inner_text()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("#work", state="hidden")
    assert "Cancelled" in ready(page).locator("#error-").inner_text()
    enter(page, VIEWS[NAMES.index("realizability")].controls[4], "2")
    page.wait_for_selector("#box-most")
    page.wait_for_function("() => document.getElementById('error-').innerText === ''")


def test_the_edges_of_inputs_stand_out(tab):
    for colours in ("light", "dark"):
        page = ready(tab("/optimum", colours=colours))
        edge, ground = page.evaluate(
            "() => { const s = getComputedStyle(document.querySelector('.dash-input-container.entry'));"
            " return [s.borderTopColor, s.backgroundColor].map(c => c.match(/[\\d.]+/g).map(Number)); }"
        )
        assert contrast(edge, ground) >= 3


def test_an_unknown_page_says_so(tab):
    page = tab("/nothing/such?x=1")
    page.wait_for_selector("h1:has-text('No such page')")
    assert page.locator("nav a").count() == len(VIEWS)
