"use strict";
// Draws the charts of a report. The data are in #report-data; the table and the facts are in the
// page already, so that it can be read without any of this.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Okabe and Ito's colours, told apart by most eyes, on white and on black.
  const palette = ["#0b7bc4", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a7f87", "#9467bd"];
  const percent = (v) => (100 * v).toFixed(1) + " %";
  const charts = [];

  // A tooltip of plain text, line by line: what a row says is never read as HTML.
  const told = (lines) => {
    const box = document.createElement("div");
    box.style.cssText = "max-width:min(70vw,26rem);white-space:normal;overflow-wrap:anywhere";
    for (const line of lines) {
      box.append(Object.assign(document.createElement("div"), { textContent: line }));
    }
    return box;
  };

  const base = () => ({
    color: palette,
    backgroundColor: "transparent",
    animation: false,
    textStyle: { color: css("--ink"), fontFamily: "inherit" },
    aria: { enabled: true },
    grid: { left: 56, right: 20, top: 46, bottom: 46 },
    legend: { type: "scroll", top: 4, textStyle: { color: css("--ink") }, inactiveColor: css("--line") },
    tooltip: {
      confine: true,
      backgroundColor: css("--tint"),
      borderColor: css("--line"),
      textStyle: { color: css("--ink") },
    },
  });
  const axis = (name, more = {}) => ({
    name,
    nameLocation: "middle",
    nameGap: 30,
    nameTextStyle: { color: css("--soft") },
    axisLabel: { color: css("--soft"), hideOverlap: true, ...(more.axisLabel || {}) },
    axisLine: { lineStyle: { color: css("--line") } },
    splitLine: { lineStyle: { color: css("--line") } },
    ...Object.fromEntries(Object.entries(more).filter(([key]) => key !== "axisLabel")),
  });
  const shareAxis = (name) =>
    axis(name, { type: "value", max: 1, nameGap: 42, axisLabel: { formatter: (v) => Math.round(100 * v) + " %" } });

  // Vertical bars from low to high, in the colour of the series of the same name.
  const intervals = (name, rows, color) => ({
    name,
    type: "custom",
    data: rows,
    silent: true,
    tooltip: { show: false },
    itemStyle: { color },
    encode: { x: 0, y: [1, 2] },
    renderItem: (_, api) => {
      const [x, low] = api.coord([api.value(0), api.value(1)]);
      const high = api.coord([api.value(0), api.value(2)])[1];
      return { type: "line", shape: { x1: x, y1: low, x2: x, y2: high }, style: { stroke: color, lineWidth: 1.5 } };
    },
  });

  const draw = (id, option) => {
    const element = document.getElementById(id);
    if (!element) return null;
    const chart = echarts.init(element, null, { renderer: "canvas" });
    chart.setOption({ ...base(), ...option() });
    charts.push({ chart, option });
    return chart;
  };

  // -- quality against dimension --
  if (data.curves.length) {
    draw("quality-chart", () => {
      const series = [];
      data.curves.forEach((curve, i) => {
        const color = palette[i % palette.length];
        const given = curve.given;
        const line = {
          name: curve.name,
          type: given ? "scatter" : "line",
          data: curve.points.map((p) => [p[0], p[1]]),
          symbolSize: given ? 13 : 7,
          symbol: given ? "diamond" : "circle",
          lineStyle: { width: i === 0 ? 3 : 1.5 },
          itemStyle: { color },
          z: given ? 5 : 3,
        };
        if (i === 0 && data.keep) {
          line.markLine = {
            silent: true, symbol: "none", lineStyle: { color: css("--soft"), type: "dashed" },
            label: { formatter: percent(data.keep), color: css("--soft"), position: "insideStartTop" },
            data: [{ yAxis: data.keep }],
          };
        }
        series.push(line, intervals(curve.name, curve.points.map((p) => [p[0], p[2], p[3]]), color));
      });
      return {
        xAxis: axis(data.size_name, { type: "log", logBase: 2, min: "dataMin", max: "dataMax", minorTick: { show: false } }),
        yAxis: shareAxis(data.recall_name),
        tooltip: {
          ...base().tooltip,
          trigger: "item",
          formatter: (p) => {
            const point = data.curves.find((c) => c.name === p.seriesName).points[p.dataIndex];
            return told([p.seriesName, `${point[0]} ${data.size_name}: ${percent(point[1])}`,
              `95 % of resamples: ${percent(point[2])} to ${percent(point[3])}`]);
          },
        },
        series,
      };
    });
  }

  // -- training --
  if (data.losses.length) {
    draw("loss-chart", () => ({
      xAxis: axis("step", { type: "value", max: "dataMax" }),
      yAxis: [
        axis("loss", { type: "value", scale: true, nameGap: 42 }),
        { ...shareAxis(data.recall_name), max: null, scale: true, splitLine: { show: false } },
      ],
      grid: { ...base().grid, right: 60 },
      tooltip: { ...base().tooltip, trigger: "axis" },
      series: [
        { name: "loss", type: "line", showSymbol: false, data: data.losses, lineStyle: { width: 1.5 } },
        { name: "held-out recall", type: "line", yAxisIndex: 1, data: data.recalls, symbolSize: 6 },
      ],
    }));
  }

  // -- spectrum --
  if (data.spectrum.length) {
    draw("spectrum-chart", () => ({
      legend: { show: false },
      xAxis: axis("principal axis of the reduced vectors", { type: "category", data: data.spectrum.map((_, i) => i + 1) }),
      yAxis: axis("standard deviation", { type: "value", nameGap: 42 }),
      tooltip: { ...base().tooltip, trigger: "axis" },
      series: [{ type: "bar", data: data.spectrum }],
    }));
  }

  // -- map --
  const map = data.map;
  if (map) {
    const bytes = Uint8Array.from(atob(map.points), (c) => c.charCodeAt(0));
    const points = new Float32Array(bytes.buffer);
    const groups = (map.groups.length ? map.groups : ["rows"]).map((name) => ({ name, ids: [] }));
    for (let i = 0; i < map.rows.length; i++) groups[map.group.length ? map.group[i] : 0].ids.push(i);
    const bounds = (axis) => {
      let [low, high] = [Infinity, -Infinity];
      for (let i = axis; i < points.length; i += 2) {
        low = Math.min(low, points[i]);
        high = Math.max(high, points[i]);
      }
      const margin = 0.03 * (high - low) || 1;
      return [low - margin, high + margin];
    };
    const limits = [bounds(0), bounds(1)];
    const about = (id) => [
      map.texts.length ? map.texts[id] : `row ${map.rows[id]}`,
      ...(map.group.length ? [`${map.groups[map.group[id]]} (row ${map.rows[id]})`] : []),
    ];
    const range = (axis) => ({ type: "value", min: limits[axis][0], max: limits[axis][1], axisLabel: { show: false }, axisTick: { show: false } });
    const chart = draw("map-chart", () => ({
      grid: { left: 8, right: 8, top: groups.length > 1 ? 40 : 8, bottom: 8 },
      legend: { ...base().legend, show: groups.length > 1 },
      xAxis: axis("", range(0)),
      yAxis: axis("", range(1)),
      dataZoom: [
        { id: "x", type: "inside", xAxisIndex: 0, filterMode: "none" },
        { id: "y", type: "inside", yAxisIndex: 0, filterMode: "none" },
      ],
      tooltip: {
        ...base().tooltip,
        trigger: "item",
        formatter: (p) => told(about(groups[p.seriesIndex].ids[p.dataIndex])),
      },
      series: groups.map((group, g) => {
        const own = new Float32Array(2 * group.ids.length);
        group.ids.forEach((id, i) => own.set(points.subarray(2 * id, 2 * id + 2), 2 * i));
        return {
          name: group.name,
          type: "scatter",
          data: own,
          dimensions: ["x", "y"],
          large: true,
          largeThreshold: 1000,
          symbolSize: points.length > 20000 ? 3 : 5,
          itemStyle: { color: palette[g % palette.length], opacity: 0.75 },
        };
      }),
    }));

    // The view, in percent of both axes.
    const view = { x: [0, 100], y: [0, 100] };
    chart.on("datazoom", () => {
      for (const zoom of chart.getOption().dataZoom) view[zoom.id] = [zoom.start, zoom.end];
    });
    const show = () => {
      const batch = ["x", "y"].map((id) => ({ dataZoomId: id, start: view[id][0], end: view[id][1] }));
      chart.dispatchAction({ type: "dataZoom", batch });
    };
    const scale = (factor) => {
      for (const id of ["x", "y"]) {
        const [from, to] = view[id];
        const half = Math.min(50, Math.max(0.05, (factor * (to - from)) / 2));
        const middle = Math.min(100 - half, Math.max(half, (from + to) / 2));
        view[id] = [middle - half, middle + half];
      }
      show();
    };
    const move = (id, share) => {
      const [from, to] = view[id];
      const by = Math.min(100 - to, Math.max(-from, share * (to - from)));
      view[id] = [from + by, to + by];
      show();
    };
    const all = () => {
      view.x = [0, 100];
      view.y = [0, 100];
      show();
    };

    const line = document.getElementById("map-told");
    const place = (g, i) => ({ type: "showTip", seriesIndex: g, dataIndex: i });
    const tell = (id) => {
      const g = map.group.length ? map.group[id] : 0;
      line.textContent = about(id).join(" — ");
      chart.dispatchAction(place(g, groups[g].ids.indexOf(id)));
    };
    // Brings a row to the middle, closely enough to be told from others.
    const visit = (id) => {
      [["x", 0], ["y", 1]].forEach(([axis, c]) => {
        const [low, high] = limits[c];
        const at = (100 * (points[2 * id + c] - low)) / (high - low);
        const half = Math.min(5, (view[axis][1] - view[axis][0]) / 2);
        const middle = Math.min(100 - half, Math.max(half, at));
        view[axis] = [middle - half, middle + half];
      });
      show();
      tell(id);
    };

    let found = [];
    let next = 0;
    const search = document.getElementById("map-search");
    const step = (by) => {
      const ids = found.length ? found : null;
      const count = ids ? ids.length : map.rows.length;
      next = (next + by + count) % count;
      visit(ids ? ids[next] : next);
    };
    if (search) {
      const find = () => {
        const text = search.value.trim().toLowerCase();
        found = text ? map.rows.map((_, i) => i).filter((i) => about(i).join(" ").toLowerCase().includes(text)) : [];
        next = -1;
        line.textContent = text ? `${found.length} rows` : "";
      };
      search.addEventListener("input", find);
      search.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && found.length) step(event.shiftKey ? -1 : 1);
      });
    }
    const actions = { in: () => scale(0.5), out: () => scale(2), all, next: () => step(1) };
    for (const button of document.querySelectorAll("[data-map]")) {
      button.addEventListener("click", actions[button.dataset.map]);
    }
    const keys = {
      ArrowLeft: () => move("x", -0.2), ArrowRight: () => move("x", 0.2),
      ArrowDown: () => move("y", -0.2), ArrowUp: () => move("y", 0.2),
      "+": actions.in, "=": actions.in, "-": actions.out, 0: all, n: () => step(1), p: () => step(-1),
    };
    document.getElementById("map-chart").addEventListener("keydown", (event) => {
      const action = !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key];
      if (action) {
        event.preventDefault();
        action();
      }
    });
  }

  const redraw = () => charts.forEach(({ chart, option }) => chart.setOption({ ...base(), ...option() }, true));
  dark.addEventListener("change", redraw);
  new ResizeObserver(() => charts.forEach(({ chart }) => chart.resize())).observe(document.body);
})();
