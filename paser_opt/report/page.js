"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const root = document.documentElement;

  // --- theme ---
  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const drawn = new Set();

  function themed(layout) {
    const axis = { gridcolor: colour("--grid"), linecolor: colour("--line"), tickcolor: colour("--line") };
    return {
      ...layout,
      font: { ...layout.font, color: colour("--text") },
      hoverlabel: {
        ...layout.hoverlabel, bgcolor: colour("--surface"), bordercolor: colour("--line"),
        font: { ...(layout.hoverlabel || {}).font, color: colour("--text") },
      },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--text") },
      xaxis: { ...layout.xaxis, ...axis },
      yaxis: { ...layout.yaxis, ...axis },
    };
  }

  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };

  function draw(id, figure) {
    const place = by(id);
    drawn.add(id);
    return Plotly.react(place, figure.data, themed(figure.layout), config);
  }

  const nameTheme = () => { by("theme").textContent = isDark() ? "Light theme" : "Dark theme"; };

  function repaint() {
    nameTheme();
    for (const id of drawn) Plotly.react(by(id), by(id).data, themed(by(id).layout), config);
  }

  nameTheme();
  by("theme").hidden = false;
  by("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    repaint();
  });
  darkSystem.addEventListener("change", repaint);

  // --- sorting ---
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const body = head.closest("table").tBodies[0];
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const cell = row.cells[head.cellIndex];
        return cell.dataset.key === undefined ? cell.textContent : Number(cell.dataset.key);
      };
      const missing = (row) => row.cells[head.cellIndex].textContent === "–";
      const order = (a, b) => {
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        const [left, right] = [key(a), key(b)];
        const sign = typeof left === "number" && typeof right === "number"
          ? left - right : String(left).localeCompare(String(right));
        return up ? sign : -sign;
      };
      body.append(...[...body.rows].sort(order));
    });
  }

  for (const [id, figure] of Object.entries(data.plots || {})) draw(id, figure);
  if (!data.figures) return;

  // --- the front ---
  const SCALES = {
    iou: [[1, ""]], gflops: [[1, "GFLOPs"]], latency: [[1e6, "µs"], [1e3, "ms"], [1, "s"]],
    energy: [[1e6, "µJ"], [1e3, "mJ"], [1, "J"]], memory: [[2 ** -10, "KiB"], [2 ** -20, "MiB"], [2 ** -30, "GiB"]],
  };
  function worded(name, value) {
    if (name === "iou") return value.toFixed(3);
    const steps = SCALES[name];
    const [factor, unit] = [...steps].reverse().find(([f]) => value * f >= 1) || steps[0];
    const scaled = value * factor;
    return `${scaled >= 100 ? scaled.toFixed(0) : Number(scaled.toPrecision(3))}\u00a0${unit}`;
  }

  const front = () => data.figures[by("pair") ? by("pair").value : "front-0"];
  // a phone has no room for the whole label: the card below shows the rest of a tapped trial
  const narrow = matchMedia("(max-width: 900px)");
  const short = (label) => label.split("<br>").slice(0, 4).map((line) => line.split(" (")[0]).join("<br>");
  const labelled = (trace) => (narrow.matches && trace.hovertext ? { ...trace, hovertext: trace.hovertext.map(short) } : trace);
  let chosen = data.knee;
  let bound = null;

  function showFront() {
    const figure = front();
    const { x, y, factors } = figure.layout.meta;
    const only = by("only").checked;
    const shown = { rest: !only, alone: !only && by("alone").checked, test: by("test").checked };
    const point = data.points.find((each) => each.trial === chosen);
    const traces = figure.data.map((trace) => {
      if (trace.meta === "chosen") {
        return { ...trace, x: point ? [point.figures[x] * factors[0]] : [], y: point ? [point.figures[y] * factors[1]] : [] };
      }
      return trace.meta in shown ? { ...trace, visible: shown[trace.meta] } : trace;
    });
    const log = (name) => (by("log").checked && name !== "iou" ? "log" : "linear");
    const line = { type: "line", line: { color: "#d6336c", width: 1.5, dash: "dot" } };
    const shapes = [];
    if (bound && bound.name === x) {
      const at = bound.value * factors[0];
      shapes.push({ ...line, x0: at, x1: at, y0: 0, y1: 1, yref: "paper" });
    } else if (bound && bound.name === y) {
      const at = bound.value * factors[1];
      shapes.push({ ...line, y0: at, y1: at, x0: 0, x1: 1, xref: "paper" });
    }
    return draw("front-plot", {
      data: traces.map(labelled),
      layout: {
        ...figure.layout, shapes,
        xaxis: { ...figure.layout.xaxis, type: log(x) }, yaxis: { ...figure.layout.yaxis, type: log(y) },
      },
    });
  }

  // --- the budget ---
  const ENDS = Number(by("slider").max);
  function range(name) {
    const values = data.points.map((point) => point.figures[name]).filter((value) => value !== undefined);
    return [Math.min(...values), Math.max(...values)];
  }
  const geometric = (name, low) => name !== "iou" && low > 0;
  function boundAt(name, position) {
    const [low, high] = range(name);
    if (position >= ENDS) return high;
    if (position <= 0) return low;
    return geometric(name, low) ? low * (high / low) ** (position / ENDS) : low + (high - low) * (position / ENDS);
  }
  function positionOf(name, value) {
    const [low, high] = range(name);
    if (high <= low) return ENDS;
    const part = geometric(name, low) ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    // rounded to the side on which the value itself keeps the limit
    return name === "iou" ? Math.floor(part * ENDS) : Math.ceil(part * ENDS - 1e-9);
  }
  // the same rule as info.pick: within a cost the best IoU, from an IoU on the fastest
  function pick(name, value) {
    const kept = data.points.filter(({ figures }) => (name === "iou" ? figures.iou >= value : figures[name] <= value));
    const cheap = (f) => [f.latency ?? Infinity, f.gflops];
    const key = (f) => (name === "iou" ? [...cheap(f), -f.iou] : [-f.iou, ...cheap(f)]);
    const less = (a, b) => {
      const at = a.findIndex((each, i) => each !== b[i]);
      return at < 0 ? 0 : a[at] < b[at] ? -1 : 1;
    };
    return kept.sort((a, b) => less(key(a.figures), key(b.figures)))[0];
  }

  function showTrial(point, sentence) {
    chosen = point.trial;
    by("verdict").textContent = sentence;
    by("details").replaceChildren(...point.rows.flatMap(([name, text]) => {
      const [term, entry] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      entry.textContent = text;
      return [term, entry];
    }));
    for (const row of document.querySelectorAll("#front tbody tr")) {
      row.classList.toggle("chosen", Number(row.cells[0].dataset.key) === chosen);
    }
    showFront();
  }

  function brief({ trial, figures, tag, test }) {
    const cost = figures.latency === undefined ? worded("gflops", figures.gflops) : worded("latency", figures.latency);
    const iou = test === null ? `${worded("iou", figures.iou)} on val` : `${worded("iou", test)} on test`;
    return `trial ${trial}${tag ? ` (${tag})` : ""}: IoU ${iou}, ${cost}`;
  }

  function slide() {
    const name = by("limit").value;
    const value = boundAt(name, Number(by("slider").value));
    bound = { name, value };
    const text = `${name === "iou" ? "≥" : "≤"} ${worded(name, value)}`;
    by("bound").textContent = text;
    by("slider").setAttribute("aria-valuetext", text);
    const best = pick(name, value);
    showTrial(best, `Deploy ${brief(best)}`);
  }

  function startAtKnee() {
    const name = by("limit").value;
    const knee = data.points.find((point) => point.trial === data.knee);
    by("slider").value = knee.figures[name] === undefined ? ENDS : positionOf(name, knee.figures[name]);
    slide();
  }

  function look(trial) {
    bound = null;
    const point = data.points.find((each) => each.trial === trial);
    const sentence = brief(point);
    showTrial(point, sentence[0].toUpperCase() + sentence.slice(1));
  }

  by("limit").addEventListener("change", startAtKnee);
  by("slider").addEventListener("input", slide);
  for (const id of ["log", "only", "alone", "test", "pair"]) by(id)?.addEventListener("change", showFront);
  for (const row of document.querySelectorAll("#front tbody tr")) {
    const cell = row.cells[0];
    const button = document.createElement("button");
    button.type = "button";
    button.className = "pick";
    button.textContent = cell.textContent;
    button.setAttribute("aria-label", `show trial ${cell.textContent}`);
    button.addEventListener("click", () => look(Number(cell.dataset.key)));
    cell.replaceChildren(button);
  }
  startAtKnee();
  narrow.addEventListener("change", showFront);
  by("front-plot").on("plotly_click", ({ points }) => {
    if (typeof points[0].customdata === "number" && points[0].data.meta !== "alone") look(points[0].customdata);
  });

  // --- the gallery ---
  for (const image of document.querySelectorAll("img[data-file]")) image.src = data.images[image.dataset.file];
  function showShots() {
    for (const shot of document.querySelectorAll(".shot")) shot.hidden = shot.dataset.trial !== by("shots").value;
  }
  if (by("shots")) {
    by("shots").addEventListener("change", showShots);
    showShots();
  }

  // --- the course of the search, drawn when first seen ---
  function showHistory() {
    const figure = data.figures.history;
    const against = by("course").value;
    draw("history-plot", {
      data: figure.data.map((trace) => ({ ...trace, visible: trace.meta === against })),
      layout: { ...figure.layout, xaxis: { ...figure.layout.xaxis, title: { text: figure.layout.meta[against] } } },
    });
  }
  const showParallel = () => draw("parallel-plot", data.figures[by("parallel-log").checked ? "parallel-log" : "parallel"]);
  const later = { "parallel-plot": showParallel };
  if (by("course")) later["history-plot"] = showHistory;
  if (data.figures.importance) later["importance-plot"] = () => draw("importance-plot", data.figures.importance);
  const drawLater = (id) => { if (!drawn.has(id)) later[id](); };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) drawLater(entry.target.id);
  }, { rootMargin: "300px" });
  for (const id of Object.keys(later)) watcher.observe(by(id));
  by("course")?.addEventListener("change", showHistory);
  by("parallel-log").addEventListener("change", showParallel);

  // --- paper: light, everything open ---
  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    for (const each of document.querySelectorAll("details")) each.open = true;
    Object.keys(later).forEach(drawLater);
    repaint();
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before; else delete root.dataset.theme;
    repaint();
  });
})();
