"""Draws the README's picture from benchmarks/results/quality.json.

ECharts, as the reports carry it, in Chromium (Debian: chromium) through Playwright. From the root
of the repository:

    .venv/bin/python scripts/draw_quality.py benchmarks/results/quality.svg
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ECHARTS = Path("crates/twinlearn-report/assets/echarts.min.js")
QUALITY = Path("benchmarks/results/quality.json")
# Legible on white and on black.
INK = "#808890"
LINES = {"TLDR": "#0b7bc4", "best closed form": "#d55e00", "random projection": "#009e73"}
TITLES = {"WordNet": "WordNet definitions, D = 384", "Fashion-MNIST": "Fashion-MNIST, D = 784"}


def recall(cells: dict[str, Any], line: str) -> float:
    """The recall of a line; of "best closed form" the highest of all forms of PCA and --solver."""
    if line == "best closed form":
        closed = ("PCA", "--solver")
        return max(float(cell["recall"]) for name, cell in cells.items() if name.startswith(closed))
    return float(cells["default" if line == "TLDR" else line]["recall"])


def option() -> dict[str, Any]:
    sets = json.loads(QUALITY.read_text())["sets"]
    out: dict[str, Any] = {
        "animation": False,
        "title": [],
        "grid": [],
        "xAxis": [],
        "yAxis": [],
        "series": [],
        "legend": {"bottom": 0, "textStyle": {"color": INK, "fontSize": 14}},
    }
    for i, (name, cells) in enumerate(sets.items()):
        dimensions = [d for d in cells if d.isdigit()]
        left = 70 + 450 * i
        out["title"].append(
            {
                "text": TITLES[name],
                "left": left + 175,
                "top": 4,
                "textAlign": "center",
                "textStyle": {"color": INK, "fontSize": 15, "fontWeight": "normal"},
            }
        )
        out["grid"].append({"left": left, "top": 40, "width": 360, "height": 230})
        axis = {
            "gridIndex": i,
            "axisLabel": {"color": INK, "fontSize": 13},
            "nameTextStyle": {"color": INK, "fontSize": 13},
            "axisLine": {"lineStyle": {"color": INK}},
            "splitLine": {"lineStyle": {"color": INK, "opacity": 0.25}},
            "nameLocation": "middle",
        }
        label = axis["axisLabel"]
        out["xAxis"].append(
            {**axis, "type": "category", "data": dimensions, "name": "dimensions", "nameGap": 28}
        )
        name = "of 10 nearest neighbours kept, %" if i == 0 else ""
        out["yAxis"].append({**axis, "name": name, "nameGap": 42, "max": 100, "axisLabel": label})
        for line, color in LINES.items():
            out["series"].append(
                {
                    "name": line,
                    "type": "line",
                    "xAxisIndex": i,
                    "yAxisIndex": i,
                    "data": [round(100 * recall(cells[d], line), 1) for d in dimensions],
                    "symbol": "circle",
                    "symbolSize": 8,
                    "lineStyle": {"width": 3},
                    "itemStyle": {"color": color},
                    "label": {
                        "show": line != "random projection",
                        "position": "top" if line == "TLDR" else "bottom",
                        "color": color,
                        "fontSize": 12,
                    },
                }
            )
    return out


def main() -> None:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=ECHARTS.read_text())
        svg = page.evaluate(
            """(option) => {
                const how = { renderer: "svg", ssr: true, width: 920, height: 350 };
                const chart = echarts.init(null, null, how);
                chart.setOption(option);
                return chart.renderToSVGString();
            }""",
            option(),
        )
        browser.close()
    Path(sys.argv[1]).write_text(svg + "\n")


if __name__ == "__main__":
    main()
