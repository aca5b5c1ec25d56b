/**
 * Updates the dashboard. The server sends texts as they are shown; only what changes with time (lanes, countdowns,
 * slots) is computed here. Messages are Server-Sent Events, each with the entries that changed.
 */

const FIRST_X = 2; // per cent of a lane's width: the end of the call ...
const LAST_X = 90; // ... and the end of the window; calls that were found later are beyond it
const LATER_X = 96;
const RECONNECT_MS = 3000;
const HIDDEN_MS = 30_000;

const page = document.documentElement;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @type {Record<string, any>} the last value of each entry that the server sent */
const state = JSON.parse(document.getElementById("first").textContent);
let skew = state.now - Date.now(); // how far the server's clock is ahead of ours
let paused = false;
let unmasked = false;

const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
const now = () => Date.now() + skew;
const css = (name) => getComputedStyle(page).getPropertyValue(name).trim();

/** Write a text only if it differs, which spares the browser a layout. */
function write(element, text) {
  if (element && element.textContent !== String(text)) element.textContent = text;
}

function mark(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// ---- time and position

/** Position of a share of the window, 0..1: its square root, which gives room to the first seconds. */
const position = (share) => Math.sqrt(Math.min(1, Math.max(0, share)));
const laneX = (share) => FIRST_X + (LAST_X - FIRST_X) * position(share);

function span(seconds) {
  if (seconds < 99.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

function clockSpan(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

// ---- the board

const lanes = find("[data-lanes]");
const emptyLane = find("template[data-lane]").content.firstElementChild;
/** @type {Map<string, Element>} */
const rows = new Map(findAll(".lane", lanes).map((row) => [row.dataset.id, row]));

function showLanes(calls) {
  const present = new Set(calls.map((call) => call.id));
  for (const [id, row] of rows) {
    if (!present.has(id)) {
      row.remove();
      rows.delete(id);
    }
  }
  const animate = rows.size > 0;
  calls.forEach((call, place) => {
    let row = rows.get(call.id);
    if (!row) {
      row = emptyLane.cloneNode(true);
      row.dataset.id = call.id;
      if (animate) row.dataset.new = "";
      rows.set(call.id, row);
    }
    if (lanes.children[place] !== row) lanes.insertBefore(row, lanes.children[place] ?? null);
    showLane(row, call);
  });
  find("[data-first]").hidden = calls.length > 0;
}

function showLane(row, call) {
  const before = row.dataset.tone;
  if (before && before !== call.tone && ["found", "later", "swept"].includes(call.tone)) {
    row.dataset.hit = "";
    setTimeout(() => delete row.dataset.hit, 1000);
  }
  mark(row, "data-tone", call.tone);
  mark(row, "data-step", call.step);
  for (const part of ["chip", "from", "to", "outcome"]) write(find(`[data-part=${part}]`, row), call[part]);
  for (const side of ["from", "to"]) mark(find(`[data-part=${side}]`, row), "data-long", call[side].length > 16 ? "yes" : "no");
  write(find("[data-part=direction]", row), `${call.direction} call, from`);
  mark(find(".way use", row), "href", `#way-${call.direction}`);
  find("[data-mark=side]", row).hidden = !call.side;
  find("[data-mark=recording]", row).hidden = !call.recording;
  find("[data-mark=notes]", row).hidden = !call.notes;
  write(find("[data-part=notes]", row), call.notes || "");
  const feeling = find("[data-mark=sentiment]", row);
  feeling.hidden = !call.feeling;
  feeling.title = `Sentiment: ${call.sentiment ?? ""}`;
  mark(feeling, "data-feeling", call.feeling);
  mark(find("use", feeling), "href", `#feeling-${call.feeling || "neutral"}`);
  write(find("[data-part=sentiment]", row), call.sentiment ? `sentiment ${call.sentiment}` : "");
  moveLane(row, call);
}

/** Move a lane's spot to where the call is now. */
function moveLane(row, call) {
  const [x, text] = laneState(call);
  const band = find("[data-band]", row);
  const { window: all, lagMin, lagMax } = state.scale;
  mark(band, "x", `${laneX(lagMin / all)}%`);
  mark(band, "width", `${laneX(lagMax / all) - laneX(lagMin / all)}%`);
  mark(find("[data-run]", row), "x2", `${x.toFixed(2)}%`);
  mark(find("[data-spot]", row), "cx", `${x.toFixed(2)}%`);
  mark(find("[data-ring]", row), "cx", `${x.toFixed(2)}%`);
  write(find("[data-part=took]", row), text);
}

function laneState(call) {
  const all = call.window ?? state.scale.window;
  switch (call.tone) {
    case "live":
      return [FIRST_X, clockSpan((now() - call.startedAt) / 1000)];
    case "waiting": {
      const passed = (now() - call.endedAt) / 1000;
      return [laneX(passed / all), span(passed)];
    }
    case "found":
      return call.found === null ? [FIRST_X, "–"] : [laneX(call.found / all), span(call.found)];
    case "later":
      return [LATER_X, call.found === null ? "–" : span(call.found)];
    case "swept": // no event announced its end, so the delay says nothing
      return [LATER_X, "swept"];
    case "absent":
      return [LATER_X, "–"];
    default:
      return [LATER_X, span((now() - call.endedAt) / 1000)];
  }
}

// ---- waiting calls

const waitingList = find("[data-waiting]");
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function showWaiting(calls) {
  waitingList.replaceChildren(
    ...calls.map((call) => {
      const bar = element("svg:svg", { "aria-hidden": "true" });
      bar.append(
        element("svg:rect", { width: "100%", height: "3", rx: "1.5" }),
        element("svg:rect", { width: "100%", height: "3", rx: "1.5" }),
      );
      const who = element("span", { class: "party" }, `${call.from} → ${call.to}`);
      return element("li", { class: "wait" }, who, element("b"), bar);
    }),
  );
  find("[data-waiting-none]").hidden = calls.length > 0;
  moveWaiting();
}

function moveWaiting() {
  state.waiting.forEach((call, place) => {
    const item = waitingList.children[place];
    if (!item) return;
    const left = Math.max(0, (call.closesAt - now()) / 1000);
    const share = (left * 1000) / Math.max(1, call.closesAt - call.endedAt);
    write(find("b", item), left < 100 ? `${left.toFixed(0)} s` : clockSpan(left));
    item.toggleAttribute("data-late", share < 0.25);
    mark(item.querySelectorAll("rect")[1], "width", `${Math.min(100, share * 100).toFixed(1)}%`);
  });
}

// ---- the budget

const slots = find("[data-slots]");
const MOST_SLOTS = 40;

function showBudget(budget) {
  write(find("[data-part=free]"), budget.free);
  write(find("[data-part=limit]"), budget.limit);
  const size = Math.min(MOST_SLOTS, budget.limit);
  const step = 100 / size;
  slots.replaceChildren();
  for (let place = 0; place < size; place += 1) {
    const x = `${place * step}%`;
    const width = `${step * 0.78}%`;
    slots.append(
      element("svg:rect", { class: "slot-bed", x, width, y: 0, height: 27, rx: 3 }),
      element("svg:rect", { class: "slot-fill", x, width, y: 27, height: 0, rx: 3 }),
    );
  }
  moveBudget();
}

/**
 * Drain each request out of the sliding window; the first slot is the next to become free. During a penalty no slot is
 * free: all are full and red until it ends.
 */
function moveBudget() {
  const { window: all, slots: used, silentUntil, note } = state.budget;
  const silence = silentUntil === null ? 0 : Math.max(0, (silentUntil - now()) / 1000);
  mark(find("[data-budget]"), "data-tone", silence > 0 ? "bad" : "");
  write(find("[data-part=silence]"), silence > 0 ? `429: no requests for ${clockSpan(Math.ceil(silence))}` : note);
  findAll(".slot-fill", slots).forEach((fill, place) => {
    const slot = used[place];
    const drained = slot ? Math.min(1, Math.max(0, (slot.freesAt - now()) / 1000 / all)) : 0;
    const left = silence > 0 ? 1 : drained;
    mark(fill, "height", (27 * left).toFixed(1));
    mark(fill, "y", (27 * (1 - left)).toFixed(1));
    mark(fill, "data-kind", slot ? slot.kind : "");
  });
}

// ---- figures and problems

function showFigures(figures) {
  for (const [name, figure] of Object.entries(figures)) showFigure(find(`[data-figure=${name}]`), figure);
}

function showFigure(box, figure) {
  if (!box) return;
  mark(box, "data-tone", figure.tone);
  mark(box, "data-size", figure.size);
  write(find("[data-part=value]", box), figure.value);
  write(find("[data-part=note]", box), figure.note);
}

function showProblems(problems) {
  find("[data-problems]").replaceChildren(
    ...problems.map(({ title, where, detail, todo, tone }) =>
      element(
        "article", { class: "problem", "data-tone": tone },
        element("h2", {}, title, ...(where ? [" ", element("small", {}, where)] : [])),
        element("p", {}, detail),
        element("p", { class: "todo" }, todo),
      ),
    ),
  );
}

// ---- completeness and accounts

/** A moment in the viewer's time zone, without the day if it is today. */
function moment(at) {
  const date = new Date(at);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  const isToday = date.toDateString() === new Date(now()).toDateString();
  return isToday ? time : `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

function stamp(at) {
  return element("time", { datetime: new Date(at).toISOString() }, moment(at));
}

/** Fill a list; hide it if it is empty. */
function list(name, lines, more) {
  find(`[data-${name}]`).replaceChildren(...lines);
  find(`[data-part-of=${name}]`).hidden = lines.length === 0;
  write(find(`[data-${name}-more]`), more);
}

function showCompleteness({ state: figure, lookedAt, days, works, moreWorks, calls, moreCalls }) {
  showFigure(find("[data-state=completeness]"), figure);
  const verdict = find("[data-verdict]");
  mark(verdict, "data-tone", figure.tone);
  verdict.replaceChildren(element("b", {}, figure.value), ` ${figure.note}`);
  find("[data-looked]").replaceChildren(...(lookedAt ? ["Call Log swept at ", stamp(lookedAt)] : []));
  find("[data-days]").replaceChildren(...days.map(dayLine));
  list("works", works.map(workLine), moreWorks);
  list("missing", calls.map(missingLine), moreCalls);
}

function dayLine({ name, ended, parts, swept }) {
  const whole = parts.reduce((sum, part) => sum + part.number, 0);
  const bar = element("svg:svg", { class: "day-bar", "aria-hidden": "true" }, element("svg:rect", { class: "bed", width: "100%", height: "8", rx: "4" }));
  let x = 0;
  for (const { kind, number } of parts) {
    const width = (number / whole) * 100;
    bar.append(element("svg:rect", { "data-kind": kind, x: `${x}%`, width: `${width}%`, height: "8" }));
    x += width;
  }
  const texts = parts.map(({ kind, text }) => element("li", { "data-kind": kind }, text));
  if (swept) texts.push(element("li", {}, swept));
  return element("li", {}, element("b", {}, name), element("span", { class: "day-ended" }, ended), bar, element("ul", {}, ...texts));
}

function workLine({ title, account, tone, from, to, state: stage, share, found, detail }) {
  const span = element("span", { class: "span" }, stamp(from), " to ", to ? stamp(to) : "now");
  const line = element("li", { class: "work", "data-tone": tone }, element("b", {}, title), span);
  const facts = [account && `account ${account}`, share === null ? stage : `${stage}, ${Math.round(share * 100)} %`, found];
  line.append(element("p", { class: "fact" }, facts.filter(Boolean).join(" · ")));
  if (share !== null) {
    const width = `${share * 100}%`;
    line.append(
      element(
        "svg:svg", { class: "progress", "aria-hidden": "true" },
        element("svg:rect", { width: "100%", height: "4", rx: "2" }),
        element("svg:rect", { width, height: "4", rx: "2" }),
      ),
    );
  }
  if (detail) line.append(element("p", { class: "soft" }, detail));
  return line;
}

function missingLine({ name, why, tone, since, next }) {
  const looks = next ? ["looked up again at ", stamp(next)] : ["not looked up again"];
  return element(
    "li", { class: "absentee", "data-tone": tone },
    element("b", {}, name), element("span", { class: "span" }, "ended ", stamp(since)),
    element("p", { class: "fact" }, why, " · ", ...looks),
  );
}

function showAccounts({ state: figure, lines }) {
  showFigure(find("[data-state=accounts]"), figure);
  find("[data-accounts]").replaceChildren(...lines.map(accountLine));
  find("[data-accounts-none]").hidden = lines.length > 0;
}

function accountLine({ name, tone, note, credentials }) {
  const held = credentials.map((one) =>
    element(
      "li", { class: "credentials", "data-tone": one.tone },
      element("b", {}, one.name), element("span", { class: "fact" }, `${one.kind} · ${one.sees}`),
      ...one.todo.map((text) => element("p", { class: "todo" }, text)),
    ),
  );
  const line = element("li", { class: "account", "data-tone": tone }, element("h3", {}, name));
  if (note) line.append(element("p", { class: "soft" }, note));
  line.append(element("ol", {}, ...held));
  return line;
}

function showEndpoints(lines) {
  find("[data-endpoints]").replaceChildren(
    ...lines.map(({ name, tone, note }) =>
      element("li", { class: "account", "data-tone": tone }, element("h3", {}, name), element("p", { class: "soft" }, note)),
    ),
  );
  find("[data-part-of=endpoints]").hidden = lines.length === 0;
}

function showSteps(steps) {
  findAll("[data-steps] li").forEach((item, place) => {
    mark(item, "data-done", steps[place]?.done ? "yes" : "no");
    write(find(".visually-hidden", item), steps[place]?.done ? "done" : "to do");
  });
}

// ---- charts

/** @type {Record<string, any>} */
const charts = {};

function colours() {
  return Object.fromEntries(
    ["ink", "soft", "line", "band", "waiting", "found", "later", "absent", "swept", "panel"].map((name) => [name, css(`--${name}`)]),
  );
}

function axes(colour, xAxis) {
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return [
    { stroke: colour.soft, font, size: 28, gap: 6, grid: { show: false }, ticks: { show: false }, ...xAxis },
    {
      stroke: colour.soft, font, gap: 6, ticks: { show: false },
      size: (_, values) => Math.max(34, ...(values ?? []).map((value) => 14 + 7 * String(value).length)),
      grid: { stroke: colour.line, width: 1 },
      incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000],
    },
  ];
}

const upTo = (_, low, high) => [0, Math.max(4, high * 1.12)];

function series(fill, width) {
  return { fill, stroke: fill, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [width, 60], radius: 0.18, gap: 1 }) };
}

function draw(name, options, data) {
  const box = find(`[data-plot=${name}]`);
  charts[name]?.destroy();
  charts[name] = new uPlot(
    {
      width: box.clientWidth, height: box.clientHeight, padding: [22, 20, 0, 0], legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      ...options,
    },
    data,
    box,
  );
}

function delayData(bins) {
  const size = bins.length - 1;
  const x = [...Array(size).keys()].map((bin) => bin + 0.5);
  return [
    [...x, size + 6.5, size + 7.5],
    [...bins.slice(0, size), null, null],
    [...x.map(() => null), null, bins[size]],
  ];
}

function drawDelays() {
  const colour = colours();
  const size = state.histogram.length - 1;
  const { window: all, lagMin, lagMax } = state.scale;
  const at = (seconds) => size * position(seconds / all);
  const marks = [0, lagMin, lagMax, all / 4, all / 2].filter((mark) => mark < all * 0.9);
  const ground = (chart) => {
    const { ctx, bbox } = chart;
    const left = chart.valToPos(at(lagMin), "x", true);
    const right = chart.valToPos(at(lagMax), "x", true);
    const end = chart.valToPos(size, "x", true);
    ctx.save();
    ctx.fillStyle = colour.band;
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.strokeStyle = colour.soft;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(end, bbox.top);
    ctx.lineTo(end, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = colour.soft;
    ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textAlign = "right";
    ctx.fillText("window closes", end, bbox.top - 7 * devicePixelRatio);
    ctx.restore();
  };
  draw(
    "delay",
    {
      scales: { x: { time: false, range: (chart) => [0, size + (chart.width < 480 ? 13 : 10)] }, y: { range: upTo } },
      axes: axes(colour, {
        splits: (chart) => [...apart([...marks, all].map(at), chart), size + 7.5],
        values: (_, places) => places.map((place) => (place > size ? "later" : `${+((place / size) ** 2 * all).toFixed(2)} s`)),
      }),
      series: [{}, series(colour.found, 0.86), series(colour.later, 0.86)],
      hooks: { drawClear: [ground], setCursor: [readDelay] },
    },
    delayData(state.histogram),
  );
}

/** Leave out the marks whose text would overlap the one before; the last one is always shown. */
function apart(places, chart) {
  const [low, high] = [chart.scales.x.min ?? 0, chart.scales.x.max ?? 1];
  const pixels = (place) => ((place - low) / (high - low)) * (chart.width - 60);
  const last = places.at(-1);
  const kept = [];
  for (const place of places.slice(0, -1)) {
    const isFree = !kept.length || pixels(place) - pixels(kept.at(-1)) >= 40;
    if (isFree && pixels(last) - pixels(place) >= 40) kept.push(place);
  }
  return [...kept, last];
}

function readDelay(chart) {
  const place = chart.cursor.idx;
  const bins = state.histogram;
  const size = bins.length - 1;
  const edge = (bin) => span((bin / size) ** 2 * state.scale.window);
  let text = "";
  if (place !== null && place !== undefined && place < size) text = `${edge(place)} to ${edge(place + 1)}: ${bins[place]} found`;
  else if (place > size) text = `after the window: ${bins[size]}`;
  write(find("[data-readout=delay]"), text);
}

/** Stack the bars, the total first: later bars cover its lower part. */
function minutesData(minutes) {
  const [at, found, later, absent, waiting, swept] = [0, 1, 2, 3, 4, 5].map((column) => minutes.map((minute) => minute[column]));
  const sum = (...columns) => at.map((_, place) => columns.reduce((total, column) => total + column[place], 0));
  return [at, sum(found, swept, later, absent, waiting), sum(found, swept, later, absent), sum(found, swept, later), sum(found, swept), found];
}

function drawMinutes() {
  const colour = colours();
  draw(
    "minutes",
    {
      scales: { x: { time: true, range: (_, low, high) => [low - 45, high + 45] }, y: { range: upTo } },
      axes: axes(colour, { values: [[60, "{HH}:{mm}", null, null, null, null, null, null, 1]], space: 64 }),
      series: [{}, ...["waiting", "absent", "later", "swept", "found"].map((name) => series(colour[name], 0.72))],
      hooks: { setCursor: [readMinutes] },
    },
    minutesData(state.minutes),
  );
}

function readMinutes(chart) {
  const minute = chart.cursor.idx === null ? undefined : state.minutes[chart.cursor.idx];
  let text = "";
  if (minute) {
    const [at, found, later, absent, waiting, swept] = minute;
    const time = new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    const parts = [[found, "in the window"], [later, "later"], [absent, "absent"], [waiting, "waiting"], [swept, "swept"]];
    text = `${time}  ${parts.filter(([number]) => number).map(([number, word]) => `${number} ${word}`).join(", ") || "no call"}`;
  }
  write(find("[data-readout=minutes]"), text);
}

function drawCharts() {
  drawDelays();
  drawMinutes();
}

// ---- messages of the server

const SHOW = {
  lanes: showLanes,
  headline: (text) => write(find("[data-text=headline]"), text),
  more: (text) => write(find("[data-text=more]"), text),
  figures: showFigures,
  budget: showBudget,
  waiting: showWaiting,
  histogram: (bins) => charts.delay?.setData(delayData(bins)),
  minutes: (minutes) => charts.minutes?.setData(minutesData(minutes)),
  inbox: (figure) => showFigure(find("[data-state=inbox]"), figure),
  subscription: (figure) => showFigure(find("[data-state=subscription]"), figure),
  problems: showProblems,
  completeness: showCompleteness,
  accounts: showAccounts,
  endpoints: showEndpoints,
  steps: showSteps,
};

function take(message) {
  skew = message.now - Date.now();
  Object.assign(state, message);
  for (const [name, show] of Object.entries(SHOW)) if (name in message) show(message[name]);
}

/** @type {EventSource | null} */
let source = null;
let again = 0;

function say(link, text) {
  const place = find("[data-link]");
  mark(place, "data-link", link);
  write(find("[data-part=link]"), text);
}

function connect() {
  disconnect();
  source = new EventSource(`/dashboard/events?numbers=${unmasked ? "full" : "masked"}`);
  source.addEventListener("open", () => say("live", "Live"));
  source.addEventListener("board", (event) => take(JSON.parse(event.data)));
  source.addEventListener("signed-out", () => location.reload());
  source.addEventListener("error", () => {
    say("lost", "Reconnecting");
    // The browser reconnects after a lost connection, but not after a response other than 200.
    if (source?.readyState === EventSource.CLOSED) again = setTimeout(reconnect, RECONNECT_MS);
  });
}

/** Reload if the session has expired, which shows the sign-in page. */
async function reconnect() {
  try {
    const response = await fetch(location.pathname, { redirect: "manual" });
    if (response.type === "opaqueredirect") location.reload();
  } catch {
    // Still unreachable: connecting fails too, and retries.
  }
  if (!paused) connect();
}

function disconnect() {
  clearTimeout(again);
  source?.close();
  source = null;
}

// ---- buttons, sizes, time

find("[data-action=pause]").addEventListener("click", ({ currentTarget: button }) => {
  paused = !paused;
  mark(button, "aria-pressed", paused);
  write(button, paused ? "Resume" : "Pause");
  if (paused) {
    disconnect();
    say("paused", "Paused");
  } else connect();
});

find("[data-action=numbers]")?.addEventListener("click", ({ currentTarget: button }) => {
  unmasked = !unmasked;
  mark(button, "aria-pressed", unmasked);
  write(button, unmasked ? "Mask numbers" : "Show numbers");
  if (!paused) connect();
});

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(disconnect, HIDDEN_MS);
  else if (!source && !paused) connect();
});

dark.addEventListener("change", drawCharts);
new ResizeObserver(() => {
  for (const [name, chart] of Object.entries(charts)) {
    const box = find(`[data-plot=${name}]`);
    if (box.clientWidth !== chart.width) chart.setSize({ width: box.clientWidth, height: box.clientHeight });
  }
}).observe(find(".charts"));

let moved = 0;
function move(at) {
  if (!paused && at - moved >= (calm.matches ? 1000 : 50)) {
    moved = at;
    for (const call of state.lanes) {
      const row = rows.get(call.id);
      if (row && (call.tone === "waiting" || call.tone === "live")) moveLane(row, call);
    }
    moveWaiting();
    moveBudget();
  }
  requestAnimationFrame(move);
}

take(state);
document.fonts.ready.then(drawCharts);
requestAnimationFrame(move);
connect();
