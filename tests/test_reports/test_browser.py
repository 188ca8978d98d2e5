"""The site in a real browser, opened from disk. Needs Debian's `chromium` at /usr/bin/chromium."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from reports import write_site

pytestmark = pytest.mark.framework

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EVIL = "<script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path, make_run, make_predictions, make_png, curves, table):
    """A net with 12 mistakes in 40 (every third is wrong up to 36), a floor, and a run with hostile names."""
    labels = [0, 1, 2, 0] * 10
    predicted = [(label + (index % 3 == 0 and index < 36)) % 3 for index, label in enumerate(labels)]
    frame = make_predictions(labels, predicted)
    selection = {"method": "m", "selected": {"C": 0.01}, "table": table, "notes": []}
    runs = [
        make_run("net", frame=frame, curves=curves, selection=selection, warnings=("Few owls.",)),
        make_run("floor", frame=frame, extractor="pixels", metrics={"accuracy": 0.5, "nll": 0.9}),
        make_run("evil", dataset=EVIL, extractor=EVIL, head=EVIL, class_names=(EVIL, "$b$", "c\x07")),
    ]
    images = [make_png(np.full((8, 8), 5 * index, np.uint8)) for index in range(40)]

    def look(run, names):
        return {name: images[int(name[-2:])] for name in names if name != "test/0001"}

    # A folder that a URL has to quote.
    return write_site(runs, tmp_path / "my site #1", look, created="2026-11-24T12:00:00+00:00")


@pytest.fixture
def page(browser):
    """A page without network that keeps what the console and failed requests say."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("requestfailed", lambda request: page.complaints.append(request.url))
    yield page
    context.close()


def _broken_images(page):
    return page.evaluate("[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)")


def test_every_page_opens_without_a_complaint_or_a_broken_image(site, page):
    page.goto(site.as_uri())
    assert page.title() == "Leaderboard – linprobe report"
    assert _broken_images(page) == []
    links = page.locator("tbody th a")
    assert links.count() == 3
    for index in range(3):
        links.nth(index).click()
        page.wait_for_load_state()
        assert re.search(r"/runs/[0-9a-f]{12}\.html$", page.url)
        assert page.title().endswith("– linprobe report")
        assert _broken_images(page) == []
        page.get_by_role("link", name="← Leaderboard").click()
        page.wait_for_load_state()
        assert page.url == site.as_uri()
    assert page.complaints == []


def test_the_grid_has_30_tiles_blue_when_right_and_red_when_wrong(site, page, make_predictions):
    page.goto(site.as_uri())
    page.locator("tbody th a", has_text="mobilenet_v2").click()
    grid = page.locator("ol.grid").nth(0)
    shown = make_predictions([0] * 40, [0] * 40).sort_values("content_sha256")["example_id"].head(30)
    numbers = [int(name[-2:]) for name in shown]
    wrong = sum(number % 3 == 0 and number < 36 for number in numbers)
    assert grid.locator("li").count() == 30
    colours = {"right": "rgb(29, 78, 216)", "wrong": "rgb(185, 28, 28)"}
    for kind, mark, count in (("right", "✓", 30 - wrong), ("wrong", "✗", wrong)):
        captions = grid.locator(f"li.{kind} .caption")
        assert captions.count() == count
        assert captions.evaluate_all("all => all.map(one => getComputedStyle(one).color)") == [colours[kind]] * count
        assert all(text.startswith(mark) for text in captions.all_inner_texts())
    assert grid.get_by_text("image not at hand").count() == numbers.count(1)
    assert page.locator("ol.grid").nth(1).locator("li.wrong").count() == 12


def test_a_click_on_a_heading_sorts_and_the_table_stands_without_scripts(site, page, browser):
    def extractors(page):
        return page.locator("#dataset-2 ~ .scroll tbody th a").all_inner_texts()

    page.goto(site.as_uri())
    assert extractors(page) == ["mobilenet_v2", "pixels"]
    page.locator("#dataset-2 ~ .scroll").get_by_role("button", name="NLL").click()
    assert extractors(page) == ["pixels", "mobilenet_v2"]
    heading = page.locator("#dataset-2 ~ .scroll th", has_text="NLL")
    assert heading.get_attribute("aria-sort") == "descending"
    page.locator("#dataset-2 ~ .scroll").get_by_role("button", name="NLL").click()
    assert extractors(page) == ["mobilenet_v2", "pixels"]
    # A missing value stands last, whichever way: the floor is compared with nothing.
    for _ in range(2):
        page.locator("#dataset-2 ~ .scroll").get_by_role("button", name="Over floor").click()
        assert extractors(page) == ["mobilenet_v2", "pixels"]
    assert page.complaints == []
    bare = browser.new_context(java_script_enabled=False).new_page()
    bare.goto(site.as_uri())
    assert bare.locator("#dataset-2 ~ .scroll tbody th a").all_inner_texts() == ["mobilenet_v2", "pixels"]
    assert bare.locator("th button").count() == 0
    bare.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_text_has_contrast_and_no_page_is_wider_than_the_window(site, page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for path in (site, *sorted((site.parent / "runs").iterdir())):
        page.goto(Path(path).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRAST_BELOW_4_5) == []


# Every element with text of its own against the nearest background that is not transparent (WCAG 2, AA).
CONTRAST_BELOW_4_5 = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const backdrop = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.body.querySelectorAll("*")) {
    if (!["SCRIPT", "STYLE"].includes(e.tagName) && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) {
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(backdrop(e))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) found.push(`${e.tagName} ${e.textContent.trim().slice(0, 40)} ${ratio.toFixed(2)}`);
    }
  }
  return found;
}"""
