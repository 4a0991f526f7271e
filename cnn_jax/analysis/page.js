"use strict";
const QUANTITIES = {
  top1_error: ["top-1 error, %", 100], loss: ["loss", 1], top5_error: ["top-5 error, %", 100],
  learning_rate: ["learning rate", 1], images_per_second: ["images per second", 1], data_wait: ["waiting for data, %", 100],
};
const AXES = { epoch: "epoch", step: "step", seconds: "time, min" };
const SVG = new Set(["svg", "g", "path", "line", "text", "circle", "rect"]);
const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [48, 10, 8, 34, 250];
const page = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");

function element(name, attributes = {}, ...children) {
  const made = SVG.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/* Numbers as people write them: four digits, and powers of ten where there are many zeros. */
function short(number) {
  const size = Math.abs(number);
  if (size && (size < 1e-3 || size >= 1e7)) return Number(number.toPrecision(3)).toExponential().replace("e+", "e");
  return Number(number.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 });
}

/* Round numbers, about `count` of them, from low to high. */
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

/* The same for logarithms: powers of ten, with 2 and 5 times them where those are few. */
function powers(low, high) {
  const found = [], factors = high - low < 2 ? [1, 2, 5] : [1];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const factor of factors) found.push(power + Math.log10(factor));
  }
  return found.filter(y => y >= low - 1e-9 && y <= high + 1e-9);
}

/* A box beside the pointer, within the window; without rows it goes away. */
function showTip(event, title, rows) {
  tip.replaceChildren(element("b", {}, title));
  for (const { color, name, value } of rows) {
    const mark = color ? [element("i", { style: `background: ${color}` })] : [];
    tip.append(element("div", {}, ...mark, element("span", {}, name), element("span", {}, value)));
  }
  tip.style.display = "block";
  const { offsetWidth: width, offsetHeight: height } = tip;
  const right = event.clientX + 16 + width < innerWidth;
  tip.style.left = `${Math.max(4, right ? event.clientX + 16 : event.clientX - width - 16)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - height - 4))}px`;
}
const hideTip = () => { tip.style.display = "none"; };

/* An average in which the past has the weight `weight`; the first values do not weigh more. */
function smoothed(points, weight) {
  let sum = 0, total = 0;
  return points.map(point => {
    sum = weight * sum + point.y;
    total = weight * total + 1;
    return { ...point, y: sum / total };
  });
}

/* The mean of several lines at each step, and a standard deviation to either side. */
function mean(lines) {
  const steps = new Map();
  for (const { points } of lines) {
    for (const point of points) steps.set(point.step, [...(steps.get(point.step) ?? []), point]);
  }
  const average = (found, of) => found.reduce((sum, point) => sum + of(point), 0) / found.length;
  return [...steps].sort((a, b) => a[0] - b[0]).map(([step, found]) => {
    const y = average(found, point => point.y), n = found.length;
    const std = n > 1 ? Math.sqrt(average(found, point => (point.y - y) ** 2) * n / (n - 1)) : 0;
    return { step, x: average(found, point => point.x), y, low: y - std, high: y + std, n };
  });
}

/* The points of a run, for a quantity by an axis. */
function pointsOf(columns, quantity, axis) {
  const factor = QUANTITIES[quantity][1], minutes = axis === "seconds" ? 1 / 60 : 1, points = [];
  (columns[quantity] ?? []).forEach((value, i) => {
    const x = columns[axis][i];
    if (Number.isFinite(value) && Number.isFinite(x)) points.push({ step: columns.step[i], x: x * minutes, y: value * factor });
  });
  return points;
}

/* One chart; `lines` gives what is to be drawn: [{ name, color, points, faint }]. */
function chart(quantity, state, all) {
  const svg = element("svg", { height: HEIGHT, role: "img", "aria-label": QUANTITIES[quantity][0] });
  const own = element("div", { class: "chart" }, element("h3", {}, QUANTITIES[quantity][0]), svg);
  let place, unplace, lines = [], rule = null;

  function draw() {
    const width = Math.max(240, svg.clientWidth || 560);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.replaceChildren();
    rule = null;
    lines = state.lines(quantity);
    own.hidden = !lines.length;
    if (!lines.length) return;
    const flat = lines.flatMap(line => line.points), scale = y => state.log ? Math.log10(y) : y;
    const ends = flat.flatMap(({ y, low = y, high = y }) => [low, high]).filter(y => !state.log || y > 0).map(scale);
    let [xLow, xHigh] = [0, state.end()];
    let [yLow, yHigh] = [state.log ? Math.min(...ends) : Math.min(0, ...ends), Math.max(...ends)];
    if (!(xHigh > xLow)) xHigh = 1;
    if (yHigh === yLow) yHigh += yHigh ? Math.abs(yHigh) : 1;
    const pad = (yHigh - yLow) * 0.04;
    [yLow, yHigh] = [state.log ? yLow - pad : yLow, yHigh + pad];
    place = (x, y) => [LEFT + (x - xLow) / (xHigh - xLow) * (width - LEFT - RIGHT),
      HEIGHT - BOTTOM - (Math.max(yLow, scale(y)) - yLow) / (yHigh - yLow) * (HEIGHT - TOP - BOTTOM)];
    unplace = at => xLow + (at - LEFT) / (width - LEFT - RIGHT) * (xHigh - xLow);
    for (const x of ticks(xLow, xHigh, Math.max(4, width / 80))) {
      const at = place(x, 1)[0];
      svg.append(element("line", { class: "grid", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM }));
      svg.append(element("text", { x: at, y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, short(x)));
    }
    for (const y of state.log ? powers(yLow, yHigh) : ticks(yLow, yHigh, 5)) {
      const value = state.log ? 10 ** y : y, at = place(xLow, value)[1];
      svg.append(element("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
      svg.append(element("text", { x: LEFT - 7, y: at + 4, "text-anchor": "end" }, short(value)));
    }
    svg.append(element("text", { x: (width + LEFT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, AXES[state.axis]));
    for (const line of lines) drawLine(line);
  }

  function drawLine({ color, points, faint }) {
    const path = found => "M" + found.map(pair => pair.map(n => n.toFixed(1)).join(",")).join("L");
    const at = points.map(({ x, y }) => place(x, y));
    if (points.some(point => point.high > point.low)) {
      const band = [...points.map(p => place(p.x, p.high)), ...points.map(p => place(p.x, p.low)).reverse()];
      svg.append(element("path", { d: path(band) + "Z", style: `fill: ${color}`, opacity: 0.18 }));
    }
    const look = { fill: "none", style: `stroke: ${color}`, "stroke-width": faint ? 1 : 1.8, opacity: faint ? 0.3 : 1 };
    svg.append(element("path", { class: faint ? "raw" : "curve", d: path(at), "stroke-linejoin": "round", ...look }));
    if (at.length < 30 && !faint) {
      const r = at.length > 1 ? 2.6 : 4.5;
      for (const [cx, cy] of at) svg.append(element("circle", { cx, cy, r, style: `fill: ${color}` }));
    }
  }

  /* Marks the points nearest to x of the lines that have some there; returns what they are. */
  function mark(x) {
    svg.querySelectorAll(".mark").forEach(old => old.remove());
    if (x === null || own.hidden) return [];
    const pixels = Math.abs(unplace(6) - unplace(0));
    const found = lines.filter(line => !line.faint).map(line => {
      const nearest = line.points.reduce((best, point) => Math.abs(point.x - x) < Math.abs(best.x - x) ? point : best);
      const { points } = line, between = (points.at(-1).x - points[0].x) / Math.max(1, points.length - 1);
      return { ...line, nearest, isThere: Math.abs(nearest.x - x) <= Math.max(pixels, between) };
    }).filter(line => line.isThere);
    const at = place(x, 1)[0];
    svg.append(element("line", { class: "mark rule", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM }));
    for (const { color, nearest } of found) {
      const [cx, cy] = place(nearest.x, nearest.y);
      svg.append(element("circle", { class: "mark", cx, cy, r: 4, style: `fill: ${color}; stroke: var(--card); stroke-width: 1.5` }));
    }
    return found;
  }

  function hover(event) {
    if (own.hidden) return;
    const at = event.clientX - svg.getBoundingClientRect().left;
    const xs = lines.flatMap(line => line.points.map(point => point.x)), x = unplace(at);
    const nearest = xs.reduce((best, one) => Math.abs(one - x) < Math.abs(best - x) ? one : best);
    for (const other of all) if (other.mark !== mark) other.mark(nearest);
    const rows = mark(nearest).sort((a, b) => b.nearest.y - a.nearest.y).slice(0, 14).map(({ color, name, nearest: { y, low, high, n } }) => {
      const spread = n > 1 ? ` \u00b1 ${short((high - low) / 2)} (n = ${n})` : "";
      return { color, name, value: short(y) + spread };
    });
    showTip(event, `${AXES[state.axis].replace(", min", "")} ${short(nearest)}${state.axis === "seconds" ? " min" : ""}`, rows);
  }
  svg.addEventListener("pointermove", hover);
  svg.addEventListener("pointerdown", hover);
  svg.addEventListener("pointerleave", () => { hideTip(); all.forEach(other => other.mark(null)); });
  return { own, svg, draw, mark };
}

/* The curves of some runs, a chart for each quantity: a color for each group of lines. */
function curves({ lines, by_split: bySplit }) {
  const groups = [...new Set(lines.map(line => line.group))], hidden = new Set();
  const color = group => bySplit ? `var(--${group})` : `var(--c${groups.indexOf(group) % 8})`;
  const length = split => Math.max(0, ...lines.filter(line => line.split === split).map(line => line.columns.step.length));
  const splits = ["test", "validation", "train", "train_evaluated"].filter(length);
  const several = !bySplit && groups.some(group => lines.filter(line => line.group === group && line.split === splits[0]).length > 1);
  const state = {
    axis: "epoch", weight: 0, log: false, mean: several,
    split: splits.reduce((best, one) => length(one) > length(best) ? one : best, splits[0]),
    visible: () => lines.filter(line => !hidden.has(line.group) && (bySplit || line.split === state.split)),
    end: () => Math.max(...state.visible().map(({ columns }) => columns[state.axis].at(-1))) / (state.axis === "seconds" ? 60 : 1),
    lines(quantity) {
      const shown = state.visible().map(line => ({ ...line, color: color(line.group), points: pointsOf(line.columns, quantity, state.axis) }))
        .map(line => ({ ...line, points: line.points.filter(({ y }) => !state.log || y > 0) }))
        .filter(line => line.points.length);
      const soft = state.weight ? shown.map(line => ({ ...line, points: smoothed(line.points, state.weight) })) : shown;
      if (!state.mean) return state.weight ? [...shown.map(line => ({ ...line, faint: true })), ...soft] : soft;
      return groups.map(group => ({ name: group, color: color(group), points: mean(soft.filter(line => line.group === group)) }))
        .filter(line => line.points.length);
    },
  };
  const charts = [], draw = () => { hideTip(); charts.forEach(one => one.draw()); };
  const isThere = name => lines.some(({ columns }) => (columns[name] ?? []).some(Boolean));
  for (const quantity of Object.keys(QUANTITIES).filter(isThere)) charts.push(chart(quantity, state, charts));
  if (!charts.length) return element("p", { class: "nothing" }, "There are no numbers yet.");

  const box = element("div", { class: "charts" }, ...charts.map(one => one.own));
  const controls = element("div", { class: "controls" });
  const select = (label, options, key) => {
    const made = element("select", {}, ...options.map(([value, text]) => element("option", { value }, text)));
    made.value = state[key];
    made.onchange = () => { state[key] = made.value; draw(); };
    controls.append(element("label", {}, label, made));
  };
  const check = (label, key) => {
    const made = element("input", { type: "checkbox" });
    made.checked = state[key];
    made.onchange = () => { state[key] = made.checked; draw(); };
    controls.append(element("label", {}, made, label));
  };
  if (!bySplit && splits.length > 1) select("split", splits.map(name => [name, name.replace("_", ", ")]), "split");
  select("by", Object.entries(AXES), "axis");
  const range = element("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0 });
  range.oninput = () => { state.weight = Number(range.value); draw(); };
  controls.append(element("label", {}, "smooth", range));
  check("logarithmic", "log");
  if (several) check("mean \u00b1 std of the seeds", "mean");

  const legend = element("div", { class: "legend" });
  for (const group of groups) {
    const button = element("button", { type: "button", "aria-pressed": "true" },
      element("i", { style: `background: ${color(group)}` }), group.replace("train_evaluated", "train, evaluated"));
    button.onclick = () => {
      if (!hidden.delete(group)) hidden.add(group);
      button.setAttribute("aria-pressed", String(!hidden.has(group)));
      draw();
    };
    legend.append(button);
  }
  new ResizeObserver(draw).observe(box);
  return element("div", {}, controls, legend, box);
}

/* A table whose columns sort; `filter` adds a field that keeps the rows with a text. */
function table({ columns, rows, marks = {}, filter }) {
  const number = text => /^[+-]?[\d,]*\.?\d+(e[+-]?\d+)?( .{1,2}|( \u00b1 .*))?$/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN;
  const numeric = columns.map((_, i) => i > 0 && rows.some(row => row[i]) && rows.every(row => !row[i] || !Number.isNaN(number(row[i]))));
  const body = element("tbody"), head = element("tr");
  const made = rows.map(row => element("tr", {}, ...row.map((text, i) => {
    const kind = marks[columns[i]]?.[text.split(/[ ,]/)[0]] ?? "";
    const look = numeric[i] ? "number" : text.length > 28 ? "long" : "";
    return element("td", look || kind ? { class: `${look} ${kind}`.trim() } : {}, text);
  })));
  body.append(...made);
  columns.forEach((name, i) => {
    const button = element("button", { type: "button" }, name);
    const cell = element("th", { scope: "col", class: numeric[i] ? "number" : "" }, button);
    button.onclick = () => {
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = row => row.children[i].textContent;
      const compare = numeric[i] ? (a, b) => number(text(a)) - number(text(b))
        : (a, b) => text(a).localeCompare(text(b), "en", { numeric: true });
      const full = made.filter(text), empty = made.filter(row => !text(row));
      body.append(...full.sort((a, b) => up ? compare(a, b) : compare(b, a)), ...empty);
    };
    head.append(cell);
  });
  const scroll = element("div", { class: rows.length > 18 ? "scroll long" : "scroll" },
    element("table", {}, element("thead", {}, head), body));
  if (!filter) return scroll;
  const field = element("input", { class: "filter", type: "search", placeholder: filter, "aria-label": filter });
  field.oninput = () => {
    const wanted = field.value.toLowerCase();
    for (const row of made) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  };
  return element("div", {}, field, scroll);
}

/* Counts by true class (row) and predicted class; right ones in one color, wrong ones in the other. */
function matrix({ names, counts }) {
  const n = names.length, longest = Math.max(...names.map(name => Math.min(name.length, 14)));
  const left = 14 + longest * 6.4, cell = Math.max(14, Math.min(34, 460 / n)), size = left + n * cell;
  const svg = element("svg", { viewBox: `0 0 ${size + 18} ${size + 18}`, role: "img", "aria-label": "confusion matrix" });
  const cut = name => name.length > 14 ? name.slice(0, 13) + "\u2026" : name;
  counts.forEach((row, i) => {
    const total = row.reduce((a, b) => a + b, 0) || 1, y = 18 + i * cell;
    svg.append(element("text", { x: left - 6, y: y + cell / 2 + 4, "text-anchor": "end" }, cut(names[i])));
    row.forEach((count, j) => {
      const part = count / total, x = left + j * cell, fill = i === j ? "var(--heat)" : "var(--wrong)";
      const opacity = count ? 0.12 + 0.88 * Math.sqrt(part) : 0;
      const rect = element("rect", { x, y, width: cell - 1, height: cell - 1, rx: 2, style: `fill: var(--grid)` });
      const top = element("rect", { class: "cell", x, y, width: cell - 1, height: cell - 1, rx: 2, style: `fill: ${fill}; fill-opacity: ${opacity.toFixed(3)}` });
      svg.append(rect, top);
      if (count && cell > 20) {
        const ink = opacity > 0.6 ? "fill: var(--card)" : "fill: var(--ink)";
        svg.append(element("text", { x: x + cell / 2 - 0.5, y: y + cell / 2 + 4, "text-anchor": "middle", style: `${ink}; pointer-events: none` }, count));
      }
      const show = event => showTip(event, `${names[i]} taken for ${names[j]}`, [{ name: `of ${total.toLocaleString("en")} examples`, value: `${count} (${short(100 * part)} %)` }]);
      top.addEventListener("pointermove", show);
      top.addEventListener("pointerdown", show);
    });
  });
  names.forEach((name, j) => {
    const x = left + (j + 0.5) * cell + 4, y = 18 + n * cell + 6;
    svg.append(element("text", { "text-anchor": "end", transform: `translate(${x} ${y}) rotate(-90)` }, cut(name)));
  });
  svg.append(element("text", { x: left, y: 11 }, "rows: the true class; columns: what it was taken for"));
  svg.addEventListener("pointerleave", hideTip);
  svg.style.maxWidth = `${1.25 * (size + 18)}px`;
  return element("div", { class: "matrix" }, svg);
}

/* Accuracy by confidence, with the diagonal on which a calibrated network lies. */
function reliability({ edges, count, confidence, accuracy }) {
  const width = 430, height = 330, all = count.reduce((a, b) => a + b, 0);
  const x = p => LEFT + p * (width - LEFT - RIGHT), y = p => height - BOTTOM - p * (height - TOP - BOTTOM);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "reliability diagram" });
  for (const p of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    svg.append(element("line", { class: "grid", x1: x(0), x2: x(1), y1: y(p), y2: y(p) }));
    svg.append(element("text", { x: x(0) - 7, y: y(p) + 4, "text-anchor": "end" }, 100 * p));
    svg.append(element("text", { x: x(p), y: y(0) + 15, "text-anchor": "middle" }, 100 * p));
  }
  count.forEach((n, i) => {
    if (!n) return;
    const [low, high] = [x(edges[i]) + 1, x(edges[i + 1]) - 1];
    const bar = element("rect", { class: "bin", x: low, width: high - low, y: y(accuracy[i]), height: y(0) - y(accuracy[i]), style: "fill: var(--heat)", opacity: 0.3 + 0.6 * Math.sqrt(n / all) });
    const gap = element("line", { x1: (low + high) / 2, x2: (low + high) / 2, y1: y(accuracy[i]), y2: y(confidence[i]), style: "stroke: var(--wrong); stroke-width: 2" });
    svg.append(bar, gap);
    const percent = part => `${short(100 * part)} %`;
    const show = event => showTip(event, `${short(100 * edges[i])} to ${percent(edges[i + 1])} sure`, [
      { name: "examples", value: n.toLocaleString("en") }, { name: "mean confidence", value: percent(confidence[i]) }, { name: "right", value: percent(accuracy[i]) }]);
    bar.addEventListener("pointermove", show);
    bar.addEventListener("pointerdown", show);
    bar.addEventListener("pointerleave", hideTip);
  });
  svg.append(element("line", { class: "rule", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  svg.append(element("text", { x: x(0.5), y: height - 3, "text-anchor": "middle" }, "confidence, %"));
  svg.append(element("text", { x: x(0.03), y: y(0.95) }, "right, %"));
  return element("div", { class: "matrix" }, svg);
}

const numbers = ({ items }) => element("div", { class: "numbers" },
  ...items.map(([label, value, note]) => element("div", {}, element("span", {}, label), element("b", {}, value), element("span", {}, note))));
const gallery = ({ items, wide }) => element("div", { class: wide ? "gallery wide" : "gallery" },
  ...items.map(([src, text]) => element("figure", {}, element("img", { src, alt: text, loading: "lazy" }), element("figcaption", {}, text))));
const heading = ({ text }) => element("h3", {}, text);
const text = ({ text: words }) => element("p", { class: "soft" }, words);
const commands = ({ lines }) => element("pre", {}, element("code", {}, lines.join("\n")));
const side = ({ blocks }) => element("div", { class: "two" }, ...blocks.map(group => element("div", {}, ...group.map(block))));
const KINDS = { numbers, curves, table, matrix, reliability, gallery, heading, text, commands, side };
function block(of) { return KINDS[of.kind](of); }

/* By default as the system has it; the button changes that. */
function themeButton() {
  const system = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const button = element("button", { class: "theme", type: "button" });
  let chosen = { "#dark": "dark", "#light": "light" }[location.hash];
  const set = () => {
    root.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
    button.textContent = root.dataset.theme === "dark" ? "light page" : "dark page";
  };
  button.onclick = () => { chosen = root.dataset.theme === "dark" ? "light" : "dark"; set(); };
  system.addEventListener("change", set);
  set();
  return button;
}

const badges = page.badges.map(([words, kind]) => element("span", { class: `badge ${kind}` }, words));
document.querySelector("header").append(element("div", { class: "top" }, element("h1", {}, page.title), ...badges, themeButton()),
  ...page.facts.map(words => element("p", { class: "soft" }, words)));
const main = document.querySelector("main");
if (page.sections.length > 1) {
  main.append(element("nav", {}, ...page.sections.map(({ short_title: name }, i) => element("a", { href: `#part-${i}` }, name))));
}
page.sections.forEach(({ title, blocks }, i) => {
  main.append(element("section", { id: `part-${i}` }, element("h2", {}, title), ...blocks.map(block)));
});
