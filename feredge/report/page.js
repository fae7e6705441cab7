"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byName = new Map(data.rows.map((row) => [row.name, row]));
  const SVG = "http://www.w3.org/2000/svg";
  const chart = document.getElementById("chart");
  const tip = document.getElementById("tip");
  const state = { x: "median", threads: String(data.threads[0]), everything: false, chosen: data.ships, points: [] };

  // ---- small helpers -------------------------------------------------------------------------------------------
  const element = (name, attributes = {}, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const html = (name, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const digits = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3));

  // ---- shapes: what was done to the weights; colour: precision; filled: format ------------------------------------
  const polygon = (corners, radius, turn) => Array.from({ length: corners }, (_, index) => {
    const angle = turn + (2 * Math.PI * index) / corners;
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
  const sizes = data.rows.filter((row) => row.kind === "artifact").map((row) => row.bytes), least = Math.min(...sizes), most = Math.max(...sizes);
  // Across time a point's size tells the file's, among artifacts: baselines may be a hundred times larger.
  const scale = (row) => (state.x === "size" || row.kind !== "artifact" || most <= least ? 1 : 0.75 + (0.6 * Math.log(row.bytes / least)) / Math.log(most / least));
  const glyph = (row) => {
    const group = element("g", { transform: `scale(${scale(row).toFixed(2)})` });
    group.append(element("path", { d: shape(row), class: row.runtime ? "elsewhere" : "own", fill: hollow(row) ? "var(--card)" : color(row), stroke: color(row), "stroke-width": 2 }));
    return group;
  };

  // ---- plot ----------------------------------------------------------------------------------------------------
  const latency = (row) => row.latency[state.threads];
  const AXES = {
    median: { title: "median ms a face", value: (row) => latency(row)?.median, tick: (v) => digitsTick(v) },
    size: { title: "KB on disk", value: (row) => row.bytes / 1000, tick: (v) => digitsTick(v) },
    whole: { title: "whole call, median ms", value: (row) => latency(row)?.whole, tick: (v) => digitsTick(v) },
  };
  const digitsTick = (value) => value >= 1 ? value.toLocaleString("en") : String(Number(value.toPrecision(1)));
  const logTicks = (low, high, room) => {
    const steps = Math.log10(high / low) < 0.5 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] : Math.log10(high / low) > room / 60 ? [1] : [1, 2, 5];
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= low && value <= high) found.push(Number(value.toPrecision(3)));
      }
    }
    return found;
  };
  const linearTicks = (low, high, count) => {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(Number(value.toPrecision(6)));
    return found;
  };

  const NEAR = 5;  // points below the best that the plot reaches unless everything is asked for
  const draw = () => {
    const axis = AXES[state.x];
    const rows = data.rows.filter((row) => row.accuracy && axis.value(row) && (state.everything || (row.kind !== "baseline" && !row.judged)));
    chart.replaceChildren();
    state.points = [];
    if (!rows.length) { chart.append(html("p", { textContent: "Nothing was measured that could be drawn." })); return; }
    const width = Math.max(300, chart.clientWidth), narrow = width < 560, height = narrow ? 340 : 460;
    const left = narrow ? 40 : 56, right = 18, top = 18, bottom = 46;
    const xs = rows.map(axis.value), low = Math.min(...xs) / 1.25, high = Math.max(...xs) * 1.25;
    // A file that lost a great deal would squeeze all others together: it stands at the lower edge, with an arrow.
    const best = 100 * Math.max(...rows.map((row) => row.accuracy[0]));
    const shares = rows.map((row) => 100 * row.accuracy[0]).filter((share) => state.everything || share >= best - NEAR);
    const spread = Math.max(best - Math.min(...shares), 0.5), floor = Math.max(0, Math.min(...shares) - 0.35 * spread);
    const roof = Math.min(100, best + 0.25 * spread);
    const x = (value) => left + (width - left - right) * Math.log(value / low) / Math.log(high / low);
    const y = (percent) => percent < floor ? height - bottom - 12 : top + (height - top - bottom) * (roof - percent) / (roof - floor);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Accuracy over ${axis.title}, one point a file` });
    for (const value of logTicks(low, high, width)) {
      svg.append(element("line", { class: "grid", x1: x(value), x2: x(value), y1: top, y2: height - bottom }));
      svg.append(element("text", { x: x(value), y: height - bottom + 18, "text-anchor": "middle" }, axis.tick(value)));
    }
    for (const value of linearTicks(floor, roof, narrow ? 5 : 7)) {
      svg.append(element("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      svg.append(element("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, value));
    }
    svg.append(element("text", { class: "title", x: width - right, y: height - 8, "text-anchor": "end" }, `${axis.title} (logarithmic)`));
    svg.append(element("text", { class: "title", x: 6, y: 12 }, "accuracy %"));
    svg.append(frontLine(rows, axis, x, y, width - right));
    let labelled = -Infinity;
    for (const row of [...rows].sort((a, b) => axis.value(a) - axis.value(b))) {
      const px = x(axis.value(row)), py = y(100 * row.accuracy[0]), beyond = 100 * row.accuracy[0] < floor;
      const ends = row.accuracy.slice(1).map((share) => Math.min(height - bottom, Math.max(top, y(100 * share))) - py);
      svg.append(point(row, px, py, beyond ? [0, 0] : ends));
      if (beyond && px - labelled > 46) {
        svg.append(element("text", { x: px, y: py - 14, "text-anchor": "middle" }, `↓ ${(100 * row.accuracy[0]).toFixed(1)}`));
        labelled = px;
      }
    }
    svg.addEventListener("pointermove", (event) => { const near = nearest(event); if (near) show(near); else hide(); });
    svg.addEventListener("pointerleave", () => hide());
    svg.addEventListener("click", (event) => { const near = nearest(event); if (near) choose(near.row.name); });
    svg.addEventListener("keydown", keys);
    chart.append(svg);
    state.svg = svg;
    hide();
  };

  const frontLine = (rows, axis, x, y, end) => {
    const sorted = rows.filter((row) => row.kind === "artifact" && row.eligible).sort((a, b) => axis.value(a) - axis.value(b) || b.accuracy[0] - a.accuracy[0]);
    let best = -1, path = "";
    for (const row of sorted) {
      if (row.accuracy[0] <= best) continue;
      const px = x(axis.value(row)).toFixed(1), py = y(100 * row.accuracy[0]).toFixed(1);
      path += path ? `H${px}V${py}` : `M${px},${py}`;
      best = row.accuracy[0];
    }
    return element("path", { class: "front", d: path ? `${path}H${end}` : "" });
  };

  const point = (row, px, py, ends) => {
    const label = describe(row).map(([name, value]) => `${name} ${value}`).join(", ");
    const group = element("g", { class: "point", transform: `translate(${px.toFixed(1)},${py.toFixed(1)})`, tabindex: "-1", role: "img", "aria-label": `${row.name}: ${label}`, "data-name": row.name });
    if (row.name === data.ships) {
      group.append(element("circle", { class: "ships", r: 14 }));
      group.append(element("text", { class: "ships-word", y: -20, "text-anchor": "middle" }, "ship"));
    }
    group.append(element("line", { class: "error", stroke: color(row), y1: ends[0], y2: ends[1] }), glyph(row));
    const entry = { row, px, py, group };
    state.points.push(entry);
    group.addEventListener("focus", () => show(entry));
    group.addEventListener("blur", () => hide());
    return group;
  };

  const nearest = (event) => {
    const box = state.svg.getBoundingClientRect(), scale = state.svg.viewBox.baseVal.width / box.width;
    const mx = (event.clientX - box.left) * scale, my = (event.clientY - box.top) * scale;
    let found = null, least = 30;
    for (const entry of state.points) {
      const distance = Math.hypot(entry.px - mx, entry.py - my);
      if (distance < least) { least = distance; found = entry; }
    }
    return found;
  };

  const describe = (row) => {
    const found = [];
    if (row.accuracy) found.push(["accuracy", `${(100 * row.accuracy[0]).toFixed(2)}% (${(100 * row.accuracy[1]).toFixed(1)} to ${(100 * row.accuracy[2]).toFixed(1)})`]);
    if (row.judged) found.push(["judged on", row.judged]);
    if (row.drop) found.push(["drop", `${signed(row.drop[0])} pp (${signed(row.drop[1])} to ${signed(row.drop[2])})`], ["verdict", row.verdict]);
    if (row.agreement !== null) found.push(["agreement", `${(100 * row.agreement).toFixed(2)}%`]);
    found.push(["size", `${digits(row.bytes / 1000)} KB`]);
    const timed = latency(row);
    if (timed) {
      found.push([`median, ${state.threads} thread${state.threads === "1" ? "" : "s"}`, `${digits(timed.median)} ms`], ["p90 · p95", `${digits(timed.p90)} · ${digits(timed.p95)} ms`]);
      if (timed.p99 !== null) found.push(["p99", `${digits(timed.p99)} ms`]);
      if (timed.whole !== null) found.push(["whole call", `${digits(timed.whole)} ms`]);
      found.push(["rounds differ by", `${(100 * timed.spread).toFixed(1)}%${timed.noisy ? ", noisy" : ""}`]);
    }
    if (row.load !== null) found.push(["load · first call", `${digits(row.load)} · ${digits(row.first)} ms`]);
    if (row.roofline !== null) found.push(["multiply-adds · of peak", `${digits(row.macs / 1e6)} M · ${(100 * row.roofline).toFixed(0)}%`]);
    if (row.peak !== null) found.push(["peak memory", `${(row.peak / 1e6).toFixed(0)} MB`]);
    if (row.front) found.push(["front", "no file beats it in all three"]);
    return found;
  };

  const show = (entry) => {
    for (const other of state.points) other.group.classList.toggle("on", other === entry);
    rowOf(entry.row.name)?.classList.add("on");
    tell(entry.row);
    if (getComputedStyle(tip).position === "static") return;
    const scale = chart.clientWidth / state.svg.viewBox.baseVal.width, frame = tip.parentElement;
    const px = entry.px * scale + chart.offsetLeft, py = entry.py * scale + chart.offsetTop;
    const fits = px + 24 + tip.offsetWidth < frame.clientWidth;
    tip.style.left = `${Math.max(4, Math.min(fits ? px + 20 : px - 20 - tip.offsetWidth, frame.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(py - tip.offsetHeight / 2, frame.clientHeight - tip.offsetHeight - 4))}px`;
  };
  const tell = (row) => {
    const list = html("dl");
    for (const [name, value] of describe(row)) list.append(html("dt", { textContent: name }), html("dd", { textContent: value }));
    tip.replaceChildren(html("b", { textContent: row.name }), list);
    tip.hidden = false;
  };
  const hide = () => {  // on a narrow screen the words stand below the plot, and there the chosen file's stay
    const below = getComputedStyle(tip).position === "static", row = byName.get(state.chosen);
    if (below && row) tell(row); else tip.hidden = true;
    for (const entry of state.points) entry.group.classList.toggle("on", below && entry.row === row);
    mark();
  };
  const keys = (event) => {
    const at = state.points.findIndex((entry) => entry.group === document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) { focus((at + step + state.points.length) % state.points.length); event.preventDefault(); }
    if ((event.key === "Enter" || event.key === " ") && at >= 0) { choose(state.points[at].row.name); event.preventDefault(); }
    if (event.key === "Escape") hide();
  };
  const focus = (index) => {
    state.points.forEach((entry, other) => entry.group.setAttribute("tabindex", other === index ? "0" : "-1"));
    state.points[index].group.focus();
  };

  // ---- the chosen file: marked in plot, table and flips -------------------------------------------------------------
  const body = document.querySelector("#figures tbody");
  const rowOf = (name) => [...body.rows].find((row) => row.dataset.name === name);
  const mark = () => {
    for (const row of body.rows) row.classList.toggle("on", row.dataset.name === state.chosen);
    const at = Math.max(0, state.points.findIndex((entry) => entry.row.name === state.chosen));
    state.points.forEach((entry, index) => entry.group.setAttribute("tabindex", index === at ? "0" : "-1"));
  };
  const choose = (name) => {
    state.chosen = name;
    mark();
    if (flipsFile && byName.get(name)?.flips) { flipsFile.value = name; flips(); }
    curves();
  };
  body.addEventListener("click", (event) => { const row = event.target.closest("tr"); if (row) choose(row.dataset.name); });

  // ---- sorting ---------------------------------------------------------------------------------------------------
  const headings = [...document.querySelectorAll("#figures thead th")];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const numeric = [...body.rows].every((row) => value(row) === "" || !Number.isNaN(Number(value(row))));
    const sorted = [...body.rows].sort((a, b) => {
      const [first, second] = [value(a), value(b)];
      if (first === "" || second === "") return (first === "") - (second === "");  // what was not measured stays last
      return (up ? 1 : -1) * (numeric ? Number(first) - Number(second) : first.localeCompare(second));
    });
    body.append(...sorted);
  }));

  // ---- which answers changed ---------------------------------------------------------------------------------------
  const flipsFile = document.getElementById("flips-file");
  const flips = () => {
    const row = byName.get(flipsFile.value), table = document.getElementById("flips"), all = row.flips.flat();
    const total = all.reduce((sum, count) => sum + count, 0), most = Math.max(1, ...all);
    document.getElementById("flips-words").textContent = `${total.toLocaleString("en")} answers differ from ${yardstick(row) === "float" ? "the float model" : yardstick(row)}’s.`;
    const cell = (tag, text, properties = {}) => html(tag, { textContent: text, ...properties });
    const head = html("tr", {}, cell("th", `${yardstick(row)} ↓ file →`, { scope: "col" }), ...row.classes.map((name) => cell("th", name, { scope: "col" })));
    const lines = row.flips.map((counts, from) => {
      const line = html("tr", {}, cell("th", row.classes[from], { scope: "row" }));
      counts.forEach((count, to) => {
        const node = cell("td", from === to ? "·" : count || "");
        if (count) { node.className = "won"; node.style.setProperty("--strength", `${(70 * count) / most}%`); }
        line.append(node);
      });
      return line;
    });
    table.replaceChildren(html("thead", {}, head), html("tbody", {}, ...lines));
    flipped(row, total);
  };
  const yardstick = (row) => (byName.get(row.beside)?.kind === "artifact" ? row.beside : "float");
  const flipped = (row, total) => {  // the images themselves, what was lost first
    const place = document.getElementById("flipped"), words = document.getElementById("flipped-words");
    const count = { lost: 0, won: 0, other: 0 };
    place.replaceChildren(...row.flipped.map(([at, label, before, after]) => {
      const kind = before === label ? "lost" : after === label ? "won" : "other", face = data.faces[at];
      count[kind] += 1;
      const [truth, was, is] = [label, before, after].map((index) => row.classes[index]);
      const card = html("li", { className: kind, title: `Row ${at} of the data: ${truth}. Named ${was}, now ${is}.` });
      if (face) card.append(html("img", { src: `data:image/png;base64,${face}`, alt: `Row ${at}, ${truth}`, width: 72, height: 72 }));
      card.append(html("span", {}, html("b", { textContent: was }), " → ", html("b", { textContent: is })), html("small", { textContent: `${truth} · row ${at}` }));
      return card;
    }));
    words.textContent = row.flipped.length
      ? `${row.flipped.length} of them, ${count.lost} lost, ${count.won} won, ${count.other} wrong either way; below each its label and its row in the data.`
      : "";
  };
  if (flipsFile) { flipsFile.addEventListener("change", flips); flips(); }

  // ---- accuracy over corruption, one small plot a kind -----------------------------------------------------------------
  const curves = () => {
    const place = document.getElementById("curves"), spoiled = data.rows.filter((row) => row.accuracy && row.corrupted.length);
    if (!place || !spoiled.length) return;
    const clean = (row) => row.corrupted.find(([, strength]) => strength === 0)[2];
    const kinds = [...new Set(spoiled[0].corrupted.filter(([, strength]) => strength).map(([kind]) => kind))];
    const width = chart.clientWidth < 560 ? 170 : 265, height = 150;
    const all = spoiled.filter((row) => row.kind !== "baseline").flatMap((row) => row.corrupted.map((found) => 100 * found[2]));
    const low = Math.floor(Math.min(...all) / 10) * 10, high = Math.ceil(Math.max(...all) / 10) * 10;
    const x = (strength) => 30 + (strength * (width - 40)) / 5, y = (percent) => 26 + ((height - 48) * (high - percent)) / (high - low);
    place.replaceChildren(...kinds.map((kind) => {
      const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Accuracy over the strength of ${kind}; the figures stand in the table below` });
      svg.append(element("text", { class: "title", x: 30, y: 14 }, kind));
      for (const percent of linearTicks(low, high, 3)) {
        svg.append(element("line", { class: "grid", x1: x(0), x2: x(5), y1: y(percent), y2: y(percent) }), element("text", { x: 25, y: y(percent) + 4, "text-anchor": "end" }, percent));
      }
      for (let strength = 0; strength <= 5; strength += 1) svg.append(element("text", { x: x(strength), y: height - 6, "text-anchor": "middle" }, strength));
      const order = (row) => (row.name === state.chosen ? 2 : row.kind === "float" ? 1 : 0);
      for (const row of spoiled.filter((one) => one.kind !== "baseline").sort((a, b) => order(a) - order(b))) {
        const steps = [[kind, 0, clean(row)], ...row.corrupted.filter((found) => found[0] === kind)];
        const path = steps.map(([, strength, share], index) => `${index ? "L" : "M"}${x(strength).toFixed(1)},${y(100 * share).toFixed(1)}`).join("");
        svg.append(element("path", { d: path, class: ["other", "float", "chosen"][order(row)] }));
      }
      return svg;
    }));
    const words = html("p", { className: "key" });
    words.append(html("i", { className: "float" }), "float model ", html("i", { className: "chosen" }), `${state.chosen ?? "no file"} (choose another in plot or table) `, html("i", { className: "other" }), "the others; strength 0 is the clean image");
    place.append(words);
  };

  // ---- controls and legend -------------------------------------------------------------------------------------------
  const choice = (title, name, entries) => {
    const set = html("fieldset", {}, html("legend", { textContent: title }));
    for (const [value, words] of entries) {
      const input = html("input", { type: "radio", name, value, checked: state[name] === value });
      input.addEventListener("change", () => { state[name] = value; draw(); });
      set.append(html("label", {}, input, html("span", { textContent: words })));
    }
    return set;
  };
  const controls = document.getElementById("controls");
  controls.append(choice("Across", "x", [["median", "inference"], ["whole", "whole call"], ["size", "size"]]));
  if (data.threads.length > 1) controls.append(choice("Threads", "threads", data.threads.map((count) => [String(count), String(count)])));
  const everything = html("input", { type: "checkbox" });
  everything.addEventListener("change", () => { state.everything = everything.checked; draw(); });
  controls.append(html("fieldset", {}, html("label", {}, everything, html("span", { textContent: "baselines and rows on other images too" }))));
  const legend = document.getElementById("legend");
  const entry = (path, fill, stroke, words) => {
    const svg = element("svg", { viewBox: "-11 -11 22 22", "aria-hidden": "true" });
    svg.append(element("path", { d: path, fill, stroke, "stroke-width": 2 }));
    legend.append(html("li", {}, svg, words));
  };
  const artifacts = data.rows.filter((row) => row.kind === "artifact");
  for (const precision of new Set(artifacts.map((row) => row.precision))) entry(SHAPES[0], `var(--${precision}, var(--plain))`, `var(--${precision}, var(--plain))`, precision);
  variants.forEach((variant, index) => entry(SHAPES[index % SHAPES.length], "none", "var(--ink)", variant));
  for (const format of new Set(artifacts.map((row) => row.format))) entry(SHAPES[0], format === "tflite" ? "var(--plain)" : "var(--card)", "var(--plain)", format === "tflite" ? "filled: tflite" : `hollow: ${format}`);
  if (artifacts.some((row) => row.runtime)) {
    entry(SHAPES[0], "none", "var(--plain)", "dashed: another runtime");
    legend.querySelector("li:last-child path").classList.add("elsewhere");
  }
  if (data.rows.some((row) => row.kind === "float")) entry(star, "var(--ink)", "var(--ink)", "float model");
  if (data.rows.some((row) => row.kind === "baseline")) entry(polygon(4, 8, Math.PI / 4), "var(--plain)", "var(--plain)", "baseline");

  new ResizeObserver(() => { if (chart.clientWidth !== state.width) { state.width = chart.clientWidth; draw(); curves(); } }).observe(chart);
  draw();
  curves();
})();
