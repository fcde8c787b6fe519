"""The page of a report in a browser: Debian's Chromium, without a window. `make test-pages` installs what drives it."""

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from known_store import known_store
from stores import VIEWS, coco_store

from resizeonce.preprocess.cli import main

webdriver = pytest.importorskip("selenium.webdriver", reason="`make test-pages` installs selenium")

SHOTS = os.environ.get("RESIZEONCE_SCREENSHOTS", "")
"""A folder to leave pictures of the pages in, for people."""

FOUND = b"""{"config": "refcoco", "root": "/data", "scenes": {"total": 3, "looked_at": 3}, "findings": [
{"check": "missing", "severity": "error", "count": 2, "what": "files are missing", "examples": ["a.jpg"], "remedy": "copy"},
{"check": "turned", "severity": "warning", "count": 2, "what": "turned", "examples": ["a.jpg"], "remedy": "turn"}], "forecast": {}}"""

CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function levels(colour) {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
}
function luminance(colour) {
  const [r, g, b] = levels(colour).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element) {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (levels(colour)[3] === 255) return colour;
  }
  return 'white';
}
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim()) continue;
  const style = getComputedStyle(element);
  const pair = [luminance(element.closest('svg') ? style.fill : style.color), luminance(behind(element))].sort((a, b) => b - a);
  found.push([(pair[0] + 0.05) / (pair[1] + 0.05), texts.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""
"""WCAG 2's contrast of every text with what is behind it, with that text."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window; only its driver's own path is used, and nothing is downloaded."""
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in found.items() if path is None]:
        pytest.skip(f"no {' and no '.join(missing)} on this machine (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = found["chromium"]
    for argument in ("--headless=new", "--disable-gpu", "--force-color-profile=srgb"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        # Chromium has no sandbox for root.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(found["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=["known", "views", "pairs"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a store of hostile texts, of one with many views, and of one of pairs."""
    folder = tmp_path_factory.mktemp("pages")
    if request.param == "known":
        store = known_store(folder)
    elif request.param == "views":
        store = coco_store(folder, *VIEWS).store
    else:
        store = Path(__file__).parents[1] / "golden" / "format-1" / "store.zarr"
    (folder / "found.json").write_bytes(FOUND)
    out = folder / f"{request.param}.html"
    result = CliRunner().invoke(
        main, ["report", str(store), "-o", str(out), "--doctor", str(folder / "found.json")]
    )
    assert result.exit_code == 0, result.output
    return out


def opened(browser: Any, report: Path, width: int = 1200, scheme: str = "light") -> None:
    """Open a page at a width, in a colour scheme."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(report.as_uri())
    if SHOTS:
        height = browser.execute_script("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        Path(SHOTS, f"{report.stem}-{scheme}-{width}.png").write_bytes(base64.b64decode(shot["data"]))


def test_there_is_no_error_and_nothing_is_asked_of_the_network(browser: Any, report: Path) -> None:
    opened(browser, report)
    assert browser.get_log("browser") == []
    asked = [
        entry["message"]
        for entry in browser.get_log("performance")
        if "requestWillBeSent" in entry["message"]
    ]
    assert asked
    for message in asked:
        assert '"url":"file://' in message or '"url":"data:' in message


def test_every_picture_and_plot_is_there(browser: Any, report: Path) -> None:
    opened(browser, report)
    pictures = browser.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.alt])"
    )
    assert pictures
    assert all(complete and width > 100 and alt for complete, width, alt in pictures)
    plots = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map(s => {const b = s.getBoundingClientRect(); return "
        "[b.width, b.height, s.querySelectorAll('text').length, "
        "[...s.querySelectorAll('text')].every(t => t.getBBox().width > 0)]})"
    )
    assert len(plots) >= 7
    assert all(width > 200 and height > 100 and texts >= 3 and drawn for width, height, texts, drawn in plots)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_plots_stays_within_them_and_is_not_on_top_of_other(
    browser: Any, report: Path, scheme: str
) -> None:
    opened(browser, report, 360, scheme)
    beside = browser.execute_script("""
        return [...document.querySelectorAll('svg')].flatMap(svg => {
          const outer = svg.getBoundingClientRect();
          const boxes = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect());
          return boxes.flatMap((a, i) => [
            a.left < outer.left - 1 || a.right > outer.right + 1 || a.bottom > outer.bottom + 1,
            ...boxes.slice(i + 1).map(b => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2),
          ]).map(wrong => [wrong, svg.getAttribute('aria-label')]);
        }).filter(([wrong]) => wrong)
    """)
    assert beside == []


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_no_page_is_wider_than_its_screen(browser: Any, report: Path, width: int) -> None:
    opened(browser, report, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide, screen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= screen == width
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 9


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(browser: Any, report: Path, scheme: str) -> None:
    opened(browser, report, 1200, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in background[4:-1].split(",")]
    assert (max(levels) < 60) == (scheme == "dark")
    found = browser.execute_script(CONTRAST)
    assert len(found) > 200
    assert [(ratio, text) for ratio, text in found if ratio < 4.5] == []


def test_the_tab_key_reaches_all_that_can_be_used_and_shows_where_it_is(browser: Any, report: Path) -> None:
    opened(browser, report)
    wanted = browser.execute_script("""
        const all = [...document.querySelectorAll('a[href], summary, [tabindex="0"]')];
        all.forEach((element, place) => element.dataset.place = place);
        return all.length;
    """)
    reached = []
    for _ in range(wanted):
        browser.switch_to.active_element.send_keys("\ue004")
        place, outline, width = browser.execute_script(
            "const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.dataset.place, s.outlineStyle, parseFloat(s.outlineWidth)]"
        )
        assert (outline, width >= 2) == ("solid", True)
        reached.append(int(place))
    assert reached == list(range(wanted))
    browser.execute_script("document.querySelector('summary').focus()")
    browser.switch_to.active_element.send_keys("\ue007")
    assert browser.execute_script("return document.querySelector('details').open")


def test_regions_that_scroll_have_names_and_links_have_targets(browser: Any, report: Path) -> None:
    opened(browser, report, 360)
    regions = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(r => [r.tabIndex, r.role, r.ariaLabel, r.scrollWidth > r.clientWidth])"
    )
    assert regions
    assert all(tab == 0 and role == "region" and name and scrolls for tab, role, name, scrolls in regions)
    missing = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => a.hash).filter(h => !document.querySelector(h))"
    )
    assert missing == []
