"""The page, opened in a browser as its readers do."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from program import ROOT, run
from twinlearn import TLDR, advise, evaluate

DATA = ROOT / "data"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CHROMIUM_IS_NEEDED" not in os.environ,
    reason="there is no chromium (Debian: apt-get install chromium)",
)

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"> & 'quotes' <b>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind, by the command line and by Python."""
    folder = tmp_path_factory.mktemp("pages")
    x, texts, labels = DATA / "train_x.npy", folder / "texts.txt", DATA / "train_y.npy"
    lines = (DATA / "train.txt").read_text().splitlines()
    texts.write_text("\n".join([HOSTILE, *lines[1:]]) + "\n")
    model = folder / "model.safetensors"
    shown = ("--texts", texts, "--labels", labels)
    run("fit", x, "-o", model, "-d", 16, "--loss", "KL", "--html", folder / "fit.html", *shown)
    queries = ("--queries", DATA / "test_x.npy", "--query-labels", DATA / "test_y.npy")
    judged = ("--original", x, "--model", model)
    run("eval", *judged, *queries, *shown, "--html", folder / "eval.html")
    run("advise", x, "--keep", 0.3, "--html", folder / "advise.html")
    rows = np.load(x)[:1500].astype(np.float32)
    tldr = TLDR(n_components=8, loss="KL").fit(rows)
    tldr.report(rows, labels=np.load(labels)[:1500], texts=lines[:1500]).save(folder / "tldr.html")
    evaluate(rows, tldr, curves=True).report().save(folder / "evaluate.html")
    advise(rows, 0.2).report().save(folder / "advice.html")
    return {path.stem: path for path in folder.glob("*.html")}


class Opened:
    """A page, and what went wrong on it."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: Any = "light") -> None:
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.told: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function("window.echarts !== undefined")
        self.own = path.as_uri()

    def colours(self, chart: str) -> int:
        """How many colours a chart is drawn in."""
        return int(
            self.page.evaluate(
                """(id) => {
                    const canvas = document.querySelector(`#${id} canvas`);
                    const { data } = canvas.getContext("2d")
                        .getImageData(0, 0, canvas.width, canvas.height);
                    const seen = new Set(new Uint32Array(data.buffer));
                    return seen.size;
                }""",
                chart,
            )
        )

    def view(self) -> list[float]:
        """From where to where the map shows, in percent of both axes."""
        zooms = "echarts.getInstanceByDom(document.getElementById('map-chart'))"
        return list(
            self.page.evaluate(f"{zooms}.getOption().dataZoom.flatMap((z) => [z.start, z.end])")
        )

    def data(self) -> Any:
        return json.loads(self.page.inner_text("#report-data"))


CHARTS = {
    "fit": ["quality", "loss", "spectrum", "map"],
    "eval": ["quality", "spectrum", "map"],
    "advise": ["quality"],
    "tldr": ["quality", "loss", "spectrum", "map"],
    "evaluate": ["quality"],
    "advice": ["quality"],
}


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", CHARTS)
def test_pages_are_drawn_without_errors_or_requests(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    opened = Opened(browser, pages[name], width, scheme)
    for chart in CHARTS[name]:
        assert opened.colours(f"{chart}-chart") > 20, chart
    assert opened.page.locator(".chart, #map-chart").count() == len(CHARTS[name])
    # Nothing is wider than the screen, and the ground is of the scheme that was asked for.
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    assert len(opened.page.screenshot()) > 10_000
    assert opened.told == []
    assert opened.asked == [opened.own]
    opened.page.close()


@pytest.mark.parametrize("width", [400, 1400])
def test_the_map_tells_what_is_pointed_at_and_zooms(
    browser: Browser, pages: dict[str, Path], width: int
) -> None:
    opened = Opened(browser, pages["eval"], width)
    page, told = opened.page, opened.data()["map"]
    points = np.frombuffer(base64.b64decode(told["points"]), np.float32).reshape(-1, 2)
    distances = np.linalg.norm(points[:, None] - points[None, :1000], axis=2)
    distances[distances == 0] = np.inf
    alone = int(distances.min(axis=1).argmax())
    page.locator("#map-chart").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """([x, y]) => {
            const element = document.getElementById("map-chart");
            const at = echarts.getInstanceByDom(element)
                .convertToPixel({ xAxisIndex: 0, yAxisIndex: 0 }, [x, y]);
            const box = element.getBoundingClientRect();
            return [box.x + at[0], box.y + at[1]];
        }""",
        points[alone].tolist(),
    )
    page.mouse.move(x + 40, y)
    page.mouse.move(x, y)
    page.wait_for_function(
        "(text) => document.getElementById('map-chart').innerText.includes(text)",
        arg=told["texts"][alone],
    )
    assert f"(row {alone})" in page.locator("#map-chart").inner_text()

    whole = opened.view()
    assert whole == [0, 100, 0, 100]
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "echarts.getInstanceByDom(document.getElementById('map-chart'))"
        ".getOption().dataZoom[0].end < 100"
    )
    wheeled = opened.view()
    page.get_by_role("button", name="Zoom in").click()
    closer = opened.view()
    assert closer[1] - closer[0] < wheeled[1] - wheeled[0] < 100
    page.get_by_role("button", name="All").click()
    assert opened.view() == whole
    assert opened.told == []
    page.close()


def test_the_map_is_used_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["eval"], 1400)
    page, told = opened.page, opened.data()["map"]
    page.locator("#map-chart").focus()
    page.keyboard.press("+")
    assert opened.view() == [25, 75, 25, 75]
    page.keyboard.press("ArrowRight")
    assert opened.view() == [35, 85, 25, 75]
    page.keyboard.press("0")
    page.keyboard.press("n")
    assert told["texts"][1] in page.locator("#map-told").inner_text()
    page.locator("#map-search").fill("mushroom")
    found = [i for i, text in enumerate(told["texts"]) if "mushroom" in text.lower()]
    assert page.locator("#map-told").inner_text() == f"{len(found)} rows"
    page.keyboard.press("Enter")
    assert told["texts"][found[0]] in page.locator("#map-told").inner_text()
    assert opened.told == []
    page.close()


def test_texts_are_never_read_as_html(browser: Browser, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["fit"], 1400)
    page = opened.page
    title = page.title()
    assert opened.data()["map"]["texts"][0] == HOSTILE
    page.locator("#map-search").fill("onerror")
    page.keyboard.press("Enter")
    assert HOSTILE in page.locator("#map-told").inner_text()
    page.wait_for_function(
        "(text) => document.getElementById('map-chart').innerText.includes(text)", arg="onerror"
    )
    assert page.title() == title
    assert page.locator("#map-chart img").count() == 0
    assert opened.told == []
    page.close()


def test_notebooks_show_the_page_in_a_frame(browser: Browser) -> None:
    x = np.random.default_rng(0).standard_normal((300, 10))
    report = TLDR(n_components=3, loss="KL", batch_size=64).fit(x).report(x)
    page = browser.new_page()
    page.set_content(report._repr_html_())
    inside = page.frame_locator("iframe")
    inside.locator("h1").wait_for()
    assert inside.locator("h1").inner_text() == "TLDR: 10 → 3"
    assert inside.locator("#map-chart canvas").count() > 0
    page.close()
