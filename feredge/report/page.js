"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byName = new Map(data.rows.map((row) => [row.name, row]));
  const SVG = "http://www.w3.org/2000/svg";
  const plotArea = document.getElementById("plot-area");
  const tooltip = document.getElementById("tooltip");
  const state = { x: "median", threads: String(data.threads[0]), showAll: false, selected: data.recommended, points: [] };

  // ---- helpers ----------------------------------------------------------------------------------------------------
  const svgElement = (name, attributes = {}, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const htmlElement = (name, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const formatNumber = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3));

  // ---- glyphs: shape for the variant, colour for the precision, fill for the format -------------------------------
  const polygon = (corners, radius, rotation) => Array.from({ length: corners }, (_, index) => {
    const angle = rotation + (2 * Math.PI * index) / corners;
    return `${index ? "L" : "M"}${(radius * Math.sin(angle)).toFixed(2)},${(-radius * Math.cos(angle)).toFixed(2)}`;
  }).join("") + "Z";
  const star = Array.from({ length: 10 }, (_, index) => {
    const radius = index % 2 ? 4 : 10, angle = (Math.PI * index) / 5;
    return `${index ? "L" : "M"}${(radius * Math.sin(angle)).toFixed(2)},${(-radius * Math.cos(angle)).toFixed(2)}`;
  }).join("") + "Z";
  const SHAPES = [
    "M7,0A7,7 0 1 1 -7,0A7,7 0 1 1 7,0Z", polygon(4, 9, 0), polygon(3, 9, 0), polygon(3, 9, Math.PI), polygon(5, 8.5, 0), polygon(6, 8, 0),
  ];
  const variants = [...new Set(data.rows.filter((row) => row.kind === "artifact").map((row) => row.variant))];
  const shape = (row) => row.kind === "float" ? star : row.kind === "baseline" ? polygon(4, 8, Math.PI / 4) : SHAPES[variants.indexOf(row.variant) % SHAPES.length];
  const color = (row) => row.kind === "artifact" ? `var(--${row.precision}, var(--plain))` : row.kind === "float" ? "var(--ink)" : "var(--plain)";
  const hollow = (row) => row.kind === "artifact" && row.format !== "tflite";
  const sizes = data.rows.filter((row) => row.kind === "artifact").map((row) => row.bytes), smallest = Math.min(...sizes), largest = Math.max(...sizes);
  // On a latency axis the size of an artifact's point shows the file's size; baselines may be a hundred times larger.
  const scale = (row) => (state.x === "size" || row.kind !== "artifact" || largest <= smallest ? 1 : 0.75 + (0.6 * Math.log(row.bytes / smallest)) / Math.log(largest / smallest));
  const glyph = (row) => {
    const group = svgElement("g", { transform: `scale(${scale(row).toFixed(2)})` });
    group.append(svgElement("path", { d: shape(row), class: row.runtime ? "other-runtime" : "default-runtime", fill: hollow(row) ? "var(--card)" : color(row), stroke: color(row), "stroke-width": 2 }));
    return group;
  };

  // ---- plot -------------------------------------------------------------------------------------------------------
  const latency = (row) => row.latency[state.threads];
  const AXES = {
    median: { title: "median ms per face", value: (row) => latency(row)?.median, tick: (v) => formatTick(v) },
    size: { title: "KB on disk", value: (row) => row.bytes / 1000, tick: (v) => formatTick(v) },
    endToEnd: { title: "end to end, median ms", value: (row) => latency(row)?.endToEnd, tick: (v) => formatTick(v) },
  };
  const formatTick = (value) => value >= 1 ? value.toLocaleString("en") : String(Number(value.toPrecision(1)));
  const logTicks = (low, high, width) => {
    const steps = Math.log10(high / low) < 0.5 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] : Math.log10(high / low) > width / 60 ? [1] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= low && value <= high) ticks.push(Number(value.toPrecision(3)));
      }
    }
    return ticks;
  };
  const linearTicks = (low, high, count) => {
    const minimumStep = (high - low) / count, power = 10 ** Math.floor(Math.log10(minimumStep));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= minimumStep);
    const ticks = [];
    for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) ticks.push(Number(value.toPrecision(6)));
    return ticks;
  };

  const ACCURACY_RANGE = 5;  // percentage points below the best that the plot covers, unless all rows are shown
  const drawPlot = () => {
    const axis = AXES[state.x];
    const rows = data.rows.filter((row) => row.accuracy && axis.value(row) && (state.showAll || (row.kind !== "baseline" && !row.testSet)));
    plotArea.replaceChildren();
    state.points = [];
    if (!rows.length) { plotArea.append(htmlElement("p", { textContent: "No row has both accuracy and latency." })); return; }
    const width = Math.max(300, plotArea.clientWidth), narrow = width < 560, height = narrow ? 340 : 460;
    const left = narrow ? 40 : 56, right = 18, top = 18, bottom = 46;
    const xs = rows.map(axis.value), low = Math.min(...xs) / 1.25, high = Math.max(...xs) * 1.25;
    // A file with a very low accuracy would compress the scale: it is drawn at the lower edge, with an arrow.
    const best = 100 * Math.max(...rows.map((row) => row.accuracy[0]));
    const accuracies = rows.map((row) => 100 * row.accuracy[0]).filter((accuracy) => state.showAll || accuracy >= best - ACCURACY_RANGE);
    const spread = Math.max(best - Math.min(...accuracies), 0.5), bottomPercent = Math.max(0, Math.min(...accuracies) - 0.35 * spread);
    const topPercent = Math.min(100, best + 0.25 * spread);
    const x = (value) => left + (width - left - right) * Math.log(value / low) / Math.log(high / low);
    const y = (percent) => percent < bottomPercent ? height - bottom - 12 : top + (height - top - bottom) * (topPercent - percent) / (topPercent - bottomPercent);
    const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Accuracy over ${axis.title}, one point per file` });
    for (const value of logTicks(low, high, width)) {
      svg.append(svgElement("line", { class: "grid", x1: x(value), x2: x(value), y1: top, y2: height - bottom }));
      svg.append(svgElement("text", { x: x(value), y: height - bottom + 18, "text-anchor": "middle" }, axis.tick(value)));
    }
    for (const value of linearTicks(bottomPercent, topPercent, narrow ? 5 : 7)) {
      svg.append(svgElement("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      svg.append(svgElement("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, value));
    }
    svg.append(svgElement("text", { class: "title", x: width - right, y: height - 8, "text-anchor": "end" }, `${axis.title} (log scale)`));
    svg.append(svgElement("text", { class: "title", x: 6, y: 12 }, "accuracy %"));
    svg.append(paretoLine(rows, axis, x, y, width - right));
    let lastLabelX = -Infinity;
    for (const row of [...rows].sort((a, b) => axis.value(a) - axis.value(b))) {
      const px = x(axis.value(row)), py = y(100 * row.accuracy[0]), belowPlot = 100 * row.accuracy[0] < bottomPercent;
      const interval = row.accuracy.slice(1).map((accuracy) => Math.min(height - bottom, Math.max(top, y(100 * accuracy))) - py);
      svg.append(point(row, px, py, belowPlot ? [0, 0] : interval));
      if (belowPlot && px - lastLabelX > 46) {
        svg.append(svgElement("text", { x: px, y: py - 14, "text-anchor": "middle" }, `↓ ${(100 * row.accuracy[0]).toFixed(1)}`));
        lastLabelX = px;
      }
    }
    svg.addEventListener("pointermove", (event) => { const entry = nearestPoint(event); if (entry) showTooltip(entry); else hideTooltip(); });
    svg.addEventListener("pointerleave", () => hideTooltip());
    svg.addEventListener("click", (event) => { const entry = nearestPoint(event); if (entry) select(entry.row.name); });
    svg.addEventListener("keydown", onKeyDown);
    plotArea.append(svg);
    state.svg = svg;
    hideTooltip();
  };

  const paretoLine = (rows, axis, x, y, end) => {
    const sorted = rows.filter((row) => row.kind === "artifact" && row.paretoCandidate).sort((a, b) => axis.value(a) - axis.value(b) || b.accuracy[0] - a.accuracy[0]);
    let best = -1, path = "";
    for (const row of sorted) {
      if (row.accuracy[0] <= best) continue;
      const px = x(axis.value(row)).toFixed(1), py = y(100 * row.accuracy[0]).toFixed(1);
      path += path ? `H${px}V${py}` : `M${px},${py}`;
      best = row.accuracy[0];
    }
    return svgElement("path", { class: "front", d: path ? `${path}H${end}` : "" });
  };

  const point = (row, px, py, interval) => {
    const label = describe(row).map(([name, value]) => `${name} ${value}`).join(", ");
    const group = svgElement("g", { class: "point", transform: `translate(${px.toFixed(1)},${py.toFixed(1)})`, tabindex: "-1", role: "img", "aria-label": `${row.name}: ${label}`, "data-name": row.name });
    if (row.name === data.recommended) {
      group.append(svgElement("circle", { class: "ships", r: 14 }));
      group.append(svgElement("text", { class: "ship-label", y: -20, "text-anchor": "middle" }, "ship"));
    }
    group.append(svgElement("line", { class: "error", stroke: color(row), y1: interval[0], y2: interval[1] }), glyph(row));
    const entry = { row, px, py, group };
    state.points.push(entry);
    group.addEventListener("focus", () => showTooltip(entry));
    group.addEventListener("blur", () => hideTooltip());
    return group;
  };

  const nearestPoint = (event) => {
    const bounds = state.svg.getBoundingClientRect(), scale = state.svg.viewBox.baseVal.width / bounds.width;
    const mx = (event.clientX - bounds.left) * scale, my = (event.clientY - bounds.top) * scale;
    let closest = null, smallestDistance = 30;
    for (const entry of state.points) {
      const distance = Math.hypot(entry.px - mx, entry.py - my);
      if (distance < smallestDistance) { smallestDistance = distance; closest = entry; }
    }
    return closest;
  };

  const describe = (row) => {
    const facts = [];
    if (row.accuracy) facts.push(["accuracy", `${(100 * row.accuracy[0]).toFixed(2)}% (${(100 * row.accuracy[1]).toFixed(1)} to ${(100 * row.accuracy[2]).toFixed(1)})`]);
    if (row.testSet) facts.push(["test set", row.testSet]);
    if (row.drop) facts.push(["drop", `${signed(row.drop[0])} pp (${signed(row.drop[1])} to ${signed(row.drop[2])})`], ["verdict", row.verdict]);
    if (row.agreement !== null) facts.push(["agreement", `${(100 * row.agreement).toFixed(2)}%`]);
    facts.push(["size", `${formatNumber(row.bytes / 1000)} KB`]);
    const timing = latency(row);
    if (timing) {
      facts.push([`median, ${state.threads} thread${state.threads === "1" ? "" : "s"}`, `${formatNumber(timing.median)} ms`], ["p90 · p95", `${formatNumber(timing.p90)} · ${formatNumber(timing.p95)} ms`]);
      if (timing.p99 !== null) facts.push(["p99", `${formatNumber(timing.p99)} ms`]);
      if (timing.endToEnd !== null) facts.push(["end to end", `${formatNumber(timing.endToEnd)} ms`]);
      facts.push(["rounds differ by", `${(100 * timing.spread).toFixed(1)}%${timing.noisy ? ", noisy" : ""}`]);
    }
    if (row.loadTime !== null) facts.push(["load · first call", `${formatNumber(row.loadTime)} · ${formatNumber(row.firstCall)} ms`]);
    if (row.roofline !== null) facts.push(["multiply-adds · of peak", `${formatNumber(row.macs / 1e6)} M · ${(100 * row.roofline).toFixed(0)}%`]);
    if (row.peakMemory !== null) facts.push(["peak memory", `${(row.peakMemory / 1e6).toFixed(0)} MB`]);
    if (row.onParetoFront) facts.push(["Pareto front", "of size, latency and accuracy"]);
    return facts;
  };

  const showTooltip = (entry) => {
    for (const other of state.points) other.group.classList.toggle("on", other === entry);
    rowOf(entry.row.name)?.classList.add("on");
    fillTooltip(entry.row);
    if (getComputedStyle(tooltip).position === "static") return;
    const scale = plotArea.clientWidth / state.svg.viewBox.baseVal.width, frame = tooltip.parentElement;
    const px = entry.px * scale + plotArea.offsetLeft, py = entry.py * scale + plotArea.offsetTop;
    const fits = px + 24 + tooltip.offsetWidth < frame.clientWidth;
    tooltip.style.left = `${Math.max(4, Math.min(fits ? px + 20 : px - 20 - tooltip.offsetWidth, frame.clientWidth - tooltip.offsetWidth - 4))}px`;
    tooltip.style.top = `${Math.max(4, Math.min(py - tooltip.offsetHeight / 2, frame.clientHeight - tooltip.offsetHeight - 4))}px`;
  };
  const fillTooltip = (row) => {
    const list = htmlElement("dl");
    for (const [name, value] of describe(row)) list.append(htmlElement("dt", { textContent: name }), htmlElement("dd", { textContent: value }));
    tooltip.replaceChildren(htmlElement("b", { textContent: row.name }), list);
    tooltip.hidden = false;
  };
  const hideTooltip = () => {  // on a narrow screen the tooltip is below the plot, and shows the selected file
    const below = getComputedStyle(tooltip).position === "static", row = byName.get(state.selected);
    if (below && row) fillTooltip(row); else tooltip.hidden = true;
    for (const entry of state.points) entry.group.classList.toggle("on", below && entry.row === row);
    highlightSelected();
  };
  const onKeyDown = (event) => {
    const at = state.points.findIndex((entry) => entry.group === document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) { focus((at + step + state.points.length) % state.points.length); event.preventDefault(); }
    if ((event.key === "Enter" || event.key === " ") && at >= 0) { select(state.points[at].row.name); event.preventDefault(); }
    if (event.key === "Escape") hideTooltip();
  };
  const focus = (index) => {
    state.points.forEach((entry, other) => entry.group.setAttribute("tabindex", other === index ? "0" : "-1"));
    state.points[index].group.focus();
  };

  // ---- the selected file: highlighted in plot, table and flips ----------------------------------------------------
  const body = document.querySelector("#metrics tbody");
  const rowOf = (name) => [...body.rows].find((row) => row.dataset.name === name);
  const highlightSelected = () => {
    for (const row of body.rows) row.classList.toggle("on", row.dataset.name === state.selected);
    const at = Math.max(0, state.points.findIndex((entry) => entry.row.name === state.selected));
    state.points.forEach((entry, index) => entry.group.setAttribute("tabindex", index === at ? "0" : "-1"));
  };
  const select = (name) => {
    state.selected = name;
    highlightSelected();
    if (flipsFile && byName.get(name)?.flipCounts) { flipsFile.value = name; drawFlips(); }
    drawCurves();
  };
  body.addEventListener("click", (event) => { const row = event.target.closest("tr"); if (row) select(row.dataset.name); });

  // ---- sorting ----------------------------------------------------------------------------------------------------
  const headings = [...document.querySelectorAll("#metrics thead th")];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const numeric = [...body.rows].every((row) => value(row) === "" || !Number.isNaN(Number(value(row))));
    const sorted = [...body.rows].sort((a, b) => {
      const [first, second] = [value(a), value(b)];
      if (first === "" || second === "") return (first === "") - (second === "");  // missing values stay last
      return (ascending ? 1 : -1) * (numeric ? Number(first) - Number(second) : first.localeCompare(second));
    });
    body.append(...sorted);
  }));

  // ---- changed predictions ----------------------------------------------------------------------------------------
  const flipsFile = document.getElementById("flips-file");
  const drawFlips = () => {
    const row = byName.get(flipsFile.value), table = document.getElementById("flips"), all = row.flipCounts.flat();
    const total = all.reduce((sum, count) => sum + count, 0), largest = Math.max(1, ...all);
    document.getElementById("flips-count").textContent = `${total.toLocaleString("en")} predictions differ from ${referenceName(row) === "float" ? "the float model" : referenceName(row)}’s.`;
    const cell = (tag, text, properties = {}) => htmlElement(tag, { textContent: text, ...properties });
    const head = htmlElement("tr", {}, cell("th", `${referenceName(row)} ↓ file →`, { scope: "col" }), ...row.classes.map((name) => cell("th", name, { scope: "col" })));
    const lines = row.flipCounts.map((counts, from) => {
      const line = htmlElement("tr", {}, cell("th", row.classes[from], { scope: "row" }));
      counts.forEach((count, to) => {
        const node = cell("td", from === to ? "·" : count || "");
        if (count) { node.className = "won"; node.style.setProperty("--intensity", `${(70 * count) / largest}%`); }
        line.append(node);
      });
      return line;
    });
    table.replaceChildren(htmlElement("thead", {}, head), htmlElement("tbody", {}, ...lines));
    drawFlippedImages(row);
  };
  const referenceName = (row) => (byName.get(row.reference)?.kind === "artifact" ? row.reference : "float");
  const drawFlippedImages = (row) => {  // newly wrong predictions first
    const list = document.getElementById("flipped"), caption = document.getElementById("flipped-count");
    const count = { lost: 0, won: 0, other: 0 };
    list.replaceChildren(...row.flipped.map(([index, label, before, after]) => {
      const kind = before === label ? "lost" : after === label ? "won" : "other", thumbnail = data.thumbnails[index];
      count[kind] += 1;
      const [labelName, beforeName, afterName] = [label, before, after].map((output) => row.classes[output]);
      const card = htmlElement("li", { className: kind, title: `Row ${index} of the data, label ${labelName}: predicted ${beforeName} by the reference, ${afterName} by this file.` });
      if (thumbnail) card.append(htmlElement("img", { src: `data:image/png;base64,${thumbnail}`, alt: `Row ${index}, ${labelName}`, width: 72, height: 72 }));
      card.append(htmlElement("span", {}, htmlElement("b", { textContent: beforeName }), " → ", htmlElement("b", { textContent: afterName })), htmlElement("small", { textContent: `${labelName} · row ${index}` }));
      return card;
    }));
    caption.textContent = row.flipped.length
      ? `${row.flipped.length} of them: ${count.lost} newly wrong, ${count.won} newly correct, ${count.other} wrong in both. Each with its label and its row in the data.`
      : "";
  };
  if (flipsFile) { flipsFile.addEventListener("change", drawFlips); drawFlips(); }

  // ---- accuracy over the severity of corruption, one small plot per kind ------------------------------------------
  const drawCurves = () => {
    const container = document.getElementById("curves"), corruptedRows = data.rows.filter((row) => row.accuracy && row.corrupted.length);
    if (!container || !corruptedRows.length) return;
    const clean = (row) => row.corrupted.find(([, severity]) => severity === 0)[2];
    const kinds = [...new Set(corruptedRows[0].corrupted.filter(([, severity]) => severity).map(([kind]) => kind))];
    const width = plotArea.clientWidth < 560 ? 170 : 265, height = 150;
    const all = corruptedRows.filter((row) => row.kind !== "baseline").flatMap((row) => row.corrupted.map((item) => 100 * item[2]));
    const low = Math.floor(Math.min(...all) / 10) * 10, high = Math.ceil(Math.max(...all) / 10) * 10;
    const x = (severity) => 30 + (severity * (width - 40)) / 5, y = (percent) => 26 + ((height - 48) * (high - percent)) / (high - low);
    container.replaceChildren(...kinds.map((kind) => {
      const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Accuracy over the severity of ${kind}; the values are in the table below` });
      svg.append(svgElement("text", { class: "title", x: 30, y: 14 }, kind));
      for (const percent of linearTicks(low, high, 3)) {
        svg.append(svgElement("line", { class: "grid", x1: x(0), x2: x(5), y1: y(percent), y2: y(percent) }), svgElement("text", { x: 25, y: y(percent) + 4, "text-anchor": "end" }, percent));
      }
      for (let severity = 0; severity <= 5; severity += 1) svg.append(svgElement("text", { x: x(severity), y: height - 6, "text-anchor": "middle" }, severity));
      const order = (row) => (row.name === state.selected ? 2 : row.kind === "float" ? 1 : 0);
      for (const row of corruptedRows.filter((row) => row.kind !== "baseline").sort((a, b) => order(a) - order(b))) {
        const points = [[kind, 0, clean(row)], ...row.corrupted.filter((item) => item[0] === kind)];
        const path = points.map(([, severity, accuracy], index) => `${index ? "L" : "M"}${x(severity).toFixed(1)},${y(100 * accuracy).toFixed(1)}`).join("");
        svg.append(svgElement("path", { d: path, class: ["other", "float", "selected"][order(row)] }));
      }
      return svg;
    }));
    const key = htmlElement("p", { className: "key" });
    key.append(htmlElement("i", { className: "float" }), "float model ", htmlElement("i", { className: "selected" }), `${state.selected ?? "no file"} (select another in the plot or the table) `, htmlElement("i", { className: "other" }), "other files; severity 0 is the clean image");
    container.append(key);
  };

  // ---- controls and legend ----------------------------------------------------------------------------------------
  const radioGroup = (title, name, options) => {
    const set = htmlElement("fieldset", {}, htmlElement("legend", { textContent: title }));
    for (const [value, text] of options) {
      const input = htmlElement("input", { type: "radio", name, value, checked: state[name] === value });
      input.addEventListener("change", () => { state[name] = value; drawPlot(); });
      set.append(htmlElement("label", {}, input, htmlElement("span", { textContent: text })));
    }
    return set;
  };
  const controls = document.getElementById("controls");
  controls.append(radioGroup("Horizontal axis", "x", [["median", "inference"], ["endToEnd", "end to end"], ["size", "size"]]));
  if (data.threads.length > 1) controls.append(radioGroup("Threads", "threads", data.threads.map((count) => [String(count), String(count)])));
  const showAll = htmlElement("input", { type: "checkbox" });
  showAll.addEventListener("change", () => { state.showAll = showAll.checked; drawPlot(); });
  controls.append(htmlElement("fieldset", {}, htmlElement("label", {}, showAll, htmlElement("span", { textContent: "include baselines and rows with other test images" }))));
  const legend = document.getElementById("legend");
  const addLegendEntry = (path, fill, stroke, text) => {
    const svg = svgElement("svg", { viewBox: "-11 -11 22 22", "aria-hidden": "true" });
    svg.append(svgElement("path", { d: path, fill, stroke, "stroke-width": 2 }));
    legend.append(htmlElement("li", {}, svg, text));
  };
  const artifacts = data.rows.filter((row) => row.kind === "artifact");
  for (const precision of new Set(artifacts.map((row) => row.precision))) addLegendEntry(SHAPES[0], `var(--${precision}, var(--plain))`, `var(--${precision}, var(--plain))`, precision);
  variants.forEach((variant, index) => addLegendEntry(SHAPES[index % SHAPES.length], "none", "var(--ink)", variant));
  for (const format of new Set(artifacts.map((row) => row.format))) addLegendEntry(SHAPES[0], format === "tflite" ? "var(--plain)" : "var(--card)", "var(--plain)", format === "tflite" ? "filled: tflite" : `hollow: ${format}`);
  if (artifacts.some((row) => row.runtime)) {
    addLegendEntry(SHAPES[0], "none", "var(--plain)", "dashed: another runtime");
    legend.querySelector("li:last-child path").classList.add("other-runtime");
  }
  if (data.rows.some((row) => row.kind === "float")) addLegendEntry(star, "var(--ink)", "var(--ink)", "float model");
  if (data.rows.some((row) => row.kind === "baseline")) addLegendEntry(polygon(4, 8, Math.PI / 4), "var(--plain)", "var(--plain)", "baseline");

  // ---- the explanations are open until the reader closes them, also on other reports -----------------------------
  const explanations = document.getElementById("column-explanations"), CLOSED_KEY = "feredge-explanations-closed";
  try {  // storage may be blocked
    explanations.open = localStorage.getItem(CLOSED_KEY) === null;
    explanations.addEventListener("toggle", () => explanations.open ? localStorage.removeItem(CLOSED_KEY) : localStorage.setItem(CLOSED_KEY, ""));
  } catch { explanations.open = true; }

  new ResizeObserver(() => { if (plotArea.clientWidth !== state.width) { state.width = plotArea.clientWidth; drawPlot(); drawCurves(); } }).observe(plotArea);
  drawPlot();
  drawCurves();
})();
