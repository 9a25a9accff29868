// Shows what `/topics.json` answers, once a second while the page is visible. Keys, names and
// messages are untrusted: they only ever become the text of a node.
"use strict";

const VERSION = 1;
const EVERY = 1000; // milliseconds
const PATIENCE = 8000;
const PAGE = 200; // topics
const MOST = 2000;
const MOST_OPEN = 100; // of which the server lists the handlers
const FEW_PLACES = 5;
const FEW_REPORTS = 3;
const HISTORY = 300_000;

const $ = (id) => document.getElementById(id);
const html = (name, props = {}, ...children) => {
  const node = Object.assign(document.createElement(name), props);
  node.append(...children);
  return node;
};

// ---- What is asked for: kept in the page's address, and so in bookmarks and reloads.

const DEFAULTS = {
  registry: "",
  filter: "",
  place: "",
  show: "all",
  sort: "handlers",
  order: "",
  by: "place",
};
const asked = { ...DEFAULTS };
for (const [name, value] of new URLSearchParams(location.search)) {
  if (Object.hasOwn(DEFAULTS, name)) asked[name] = value;
}
let since = "new";
let limit = PAGE;
let isPaused = false;
let allPlaces = false;
let allReports = false;
const open = new Set();

function parameters() {
  const changed = Object.entries(asked).filter(([name, value]) => value !== DEFAULTS[name]);
  return new URLSearchParams(changed);
}

/** Asks for something else, at once. */
function ask(changes) {
  Object.assign(asked, changes);
  limit = PAGE;
  const text = parameters().toString();
  history.replaceState(null, "", text ? "?" + text : location.pathname);
  refresh();
}

// ---- The numbers, as people read them.

const count = (number) => number.toLocaleString("en");
const whole = (number) => count(number < 100 ? number : Math.round(number));
const rate = (calls) => (calls?.per_second == null ? "–" : whole(calls.per_second));
const clock = (millis) => new Date(millis).toLocaleTimeString("en-GB");
const calls = (calls) => (calls ? count(calls.count) : "–");

function time(nanos) {
  if (nanos == null) return "–";
  const units = [
    [1e9, "s"],
    [1e6, "ms"],
    [1e3, "µs"],
  ];
  const [unit, name] = units.find(([unit]) => nanos >= unit) ?? [1, "ns"];
  const value = nanos / unit;
  return (value < 10 && unit > 1 ? value.toFixed(1) : count(Math.round(value))) + " " + name;
}

function ago(millis) {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 60) return seconds + " s ago";
  return seconds < 3600
    ? Math.floor(seconds / 60) + " min ago"
    : Math.floor(seconds / 3600) + " h ago";
}

function growth(grown) {
  if (!grown) return "";
  return grown > 0 ? "▲ " + count(grown) : "▼ " + count(-grown);
}

// ---- Nodes that are updated in place.

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, is) {
  if (node.classList.contains(name) !== is) node.classList.toggle(name, is);
}

const rowsOf = new WeakMap();

/** Makes the children of a parent those of the items, in their order: keeps the nodes of keys. */
function sync(parent, items, keyOf, make, update) {
  const old = rowsOf.get(parent) ?? new Map();
  const now = new Map();
  const focused = document.activeElement;
  for (const item of items) {
    const key = keyOf(item);
    const row = old.get(key) ?? make(key, item);
    old.delete(key);
    now.set(key, row);
    update(row, item);
  }
  for (const row of old.values()) row.remove();
  // Rows of a table stand behind its head.
  let next = parent.tHead ? parent.tHead.nextElementSibling : parent.firstElementChild;
  for (const row of now.values()) {
    if (row === next) next = next.nextElementSibling;
    else parent.insertBefore(row, next);
  }
  rowsOf.set(parent, now);
  // A node that is moved loses the focus.
  if (focused !== document.activeElement && focused?.isConnected)
    focused.focus({ preventScroll: true });
}

// ---- Tables.

// The name of a column, what it is sorted by, its class, its text, whether there is nothing to say.
const NUMBERS = [
  [
    "Handlers",
    "handlers",
    "",
    (it) => count(it.handlers) + (it.paused ? ` (${count(it.paused)} paused)` : ""),
  ],
  ["Grown", "grown", "grown", (it) => growth(it.grown), (it) => !it.grown],
  ["Calls/s", "per_second", "calls", (it) => rate(it.calls), (it) => !it.calls?.per_second],
  ["Calls", "calls", "calls", (it) => calls(it.calls), (it) => !it.calls?.count],
  [
    "Mean",
    "mean",
    "calls",
    (it) => time(it.calls?.mean_nanos),
    (it) => it.calls?.mean_nanos == null,
  ],
  [
    "Longest",
    "longest",
    "calls",
    (it) => (it.calls?.count ? time(it.calls.longest_nanos) : "–"),
    (it) => !it.calls?.count,
  ],
];
const HANDLES = ["Handles", "handles", "", (it) => count(it.handles), (it) => !it.handles];
const PANICS = ["Panics", "panics", "", (it) => count(it.panics), (it) => !it.panics];
const TOPICS = ["Topics", "", "", (it) => count(it.topics)];
const PRIORITY = [
  "Priority",
  "",
  "",
  (it) =>
    it.lowest_priority === it.highest_priority
      ? String(it.lowest_priority)
      : it.lowest_priority + " to " + it.highest_priority,
];
const [SIZE, GROWN, ...CALLS] = NUMBERS;

const TOPIC_COLUMNS = [SIZE, GROWN, HANDLES, ...CALLS, PANICS];
const PLACE_COLUMNS = [SIZE, GROWN, TOPICS, ...CALLS];
const GROUP_COLUMNS = [SIZE, PRIORITY, ...CALLS];

function head(row, first, columns, isSorted) {
  for (const [name, sort, kind] of [[first, isSorted ? "key" : "", ""], ...columns]) {
    const cell = html("th", { scope: "col", className: kind });
    cell.setAttribute("role", "columnheader");
    if (!isSorted) {
      cell.textContent = name;
    } else {
      const button = html("button", { type: "button", textContent: name });
      const other = () => (direction() === "desc" ? "asc" : "desc");
      button.onclick = () => ask({ sort, order: asked.sort === sort ? other() : "" });
      cell.append(button);
      cell.dataset.sort = sort;
      cell.dataset.name = name;
    }
    row.append(cell);
  }
}

const direction = () => asked.order || (asked.sort === "key" ? "asc" : "desc");

function showSort() {
  for (const cell of $("topics-head").children) {
    const is = cell.dataset.sort === asked.sort;
    const isDown = direction() === "desc";
    if (is) cell.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
    put(cell.firstChild, cell.dataset.name + (is ? (isDown ? " ↓" : " ↑") : ""));
  }
}

/** Makes a row whose first cell has these nodes. */
function numbersRow(columns, ...first) {
  const title = html("th", { scope: "row" }, ...first);
  title.setAttribute("role", "rowheader");
  const row = html("tr", {}, title);
  row.setAttribute("role", "row");
  for (const [name, , kind] of columns) {
    const cell = html("td", { className: kind });
    cell.setAttribute("role", "cell");
    cell.dataset.label = name;
    row.append(cell);
  }
  return row;
}

function putNumbers(row, columns, item) {
  columns.forEach(([, , , text, isVoid], at) => {
    const cell = row.children[at + 1];
    put(cell, text(item));
    cell.toggleAttribute("data-void", !!isVoid?.(item));
  });
  const at = columns.indexOf(GROWN);
  if (at >= 0) mark(row.children[at + 1], "up", item.grown > 0);
  const panics = columns.indexOf(PANICS);
  if (panics >= 0) mark(row.children[panics + 1], "fault-text", item.panics > 0);
}

/** Shows a key, which may be empty. */
function putKey(node, key) {
  put(node, key || "(no key)");
  mark(node, "void", !key);
}

// ---- Where handlers come from.

const groupKey = (group) => JSON.stringify([group.place, group.name]);

/** The text by which a group is selected. */
const selector = (group) => (asked.by === "name" && group.name != null ? group.name : group.place);

function groupTitle(group) {
  if (group.name == null) return group.place ?? "several places";
  return asked.by === "name" ? group.name : `${group.place ?? "several places"} – ${group.name}`;
}

function makePlace() {
  const button = html("button", {
    type: "button",
    className: "pick place",
    title: "Show the topics with these handlers",
  });
  const meter = html("div", { className: "meter" });
  return numbersRow(PLACE_COLUMNS, button, html("span", { className: "tag" }), meter);
}

function showPlaces(answer) {
  const most = Math.max(1, ...answer.places.map((place) => place.handlers));
  const shown = allPlaces ? answer.places : answer.places.slice(0, FEW_PLACES);
  sync($("places"), shown, groupKey, makePlace, (row, place) => {
    const [button, tag, meter] = row.firstChild.children;
    put(button, groupTitle(place));
    const text = selector(place);
    button.setAttribute("aria-pressed", String(text === asked.place));
    button.onclick = () => ask({ place: text === asked.place ? "" : text });
    const from = asked.by === "name" && place.name != null ? (place.place ?? "several places") : "";
    put(tag, from);
    tag.hidden = !from;
    meter.style.width = Math.max(0.5, (place.handlers / most) * 100) + "%";
    putNumbers(row, PLACE_COLUMNS, place);
  });
  const more = answer.places.length - FEW_PLACES;
  $("more-places").hidden = more <= 0;
  put($("more-places"), allPlaces ? "Fewer places" : `${count(more)} more places`);
  for (const button of document.querySelectorAll("[data-by]")) {
    button.setAttribute("aria-pressed", String(button.dataset.by === asked.by));
  }
}

// ---- Topics.

let isSeveral = false;

function makeTopic(id) {
  const button = html(
    "button",
    { type: "button", className: "open" },
    html("bdi", { className: "key" }),
  );
  button.setAttribute("aria-expanded", "false");
  button.onclick = () => {
    if (!open.delete(id)) open.add(id);
    // The one that was opened first gives way.
    if (open.size > MOST_OPEN) open.delete(open.values().next().value);
    showOpen(body, id, null);
    refresh();
  };
  const tag = html("span", { className: "tag", hidden: true });
  const note = html("span", { className: "note warn", hidden: true });
  const body = html("tbody", {}, numbersRow(TOPIC_COLUMNS, button, tag, note));
  body.setAttribute("role", "rowgroup");
  return body;
}

function updateTopic(body, topic) {
  const [button, tag, note] = body.firstChild.firstChild.children;
  putKey(button.firstChild, topic.key);
  put(tag, topic.registry);
  tag.hidden = !isSeveral;
  put(note, topic.handlers ? "all paused" : "no handler");
  note.hidden = !topic.unheard;
  putNumbers(body.firstChild, TOPIC_COLUMNS, topic);
}

/** Shows the handlers of a topic, or hides them. Without an answer yet, there are none. */
function showOpen(body, id, answer) {
  const isOpen = open.has(id);
  body.querySelector(".open").setAttribute("aria-expanded", String(isOpen));
  let row = body.children[1];
  if (!isOpen) return row?.remove();
  if (!row) {
    const table = html("table", {}, html("thead", {}, html("tr")), html("tbody"));
    table.setAttribute("aria-label", "Handlers");
    head(table.tHead.rows[0], "Registered at", GROUP_COLUMNS, false);
    row = html(
      "tr",
      { className: "details" },
      html("td", { colSpan: TOPIC_COLUMNS.length + 1 }, table),
    );
    body.append(row);
  }
  if (!answer) return;
  const table = row.querySelector("table");
  const make = () => numbersRow(GROUP_COLUMNS, html("span", { className: "place" }));
  sync(table.tBodies[0], answer.groups, groupKey, make, (group, item) => {
    put(
      group.firstChild.firstChild,
      groupTitle(item) +
        (asked.by === "name" && item.name != null && item.place ? ` – ${item.place}` : ""),
    );
    putNumbers(group, GROUP_COLUMNS, item);
  });
  const more = answer.groups_found - answer.groups.length;
  const text =
    more > 0 ? `and ${count(more)} more groups` : answer.groups.length ? "" : "no handlers";
  const caption = table.caption ?? table.createCaption();
  put(caption, text);
  caption.hidden = !text;
}

function showTopics(answer) {
  isSeveral = answer.registries.length > 1 && !asked.registry;
  const details = new Map(answer.open.map((topic) => [topic.id, topic]));
  sync(
    $("topics"),
    answer.topics,
    (topic) => topic.id,
    makeTopic,
    (body, topic) => {
      updateTopic(body, topic);
      showOpen(body, topic.id, details.get(topic.id));
    },
  );
  for (const topic of answer.open) if (!topic.exists) open.delete(topic.id);
  const none = answer.found === 0;
  $("none").hidden = !none;
  put(
    $("none"),
    answer.counts.all ? "No topic is found: change the filter." : "There are no topics.",
  );
  const more = answer.found - answer.topics.length;
  $("more-topics").hidden = more <= 0 || limit >= MOST;
  put($("more-topics"), `Show more (${count(more)} are not shown)`);
  for (const button of document.querySelectorAll("[data-show]")) {
    button.setAttribute("aria-pressed", String(button.dataset.show === asked.show));
    put(button.querySelector("b"), count(answer.counts[button.dataset.show]));
  }
  $("only-place").hidden = !asked.place;
  put($("only-place"), `✕ only topics with handlers of ${asked.place}`);
  showSort();
}

// ---- Registries, totals and charts.

function showRegistries(answer) {
  const several = answer.registries.length > 1;
  const all = { name: "", title: "All registries" };
  const items = several ? [all, ...answer.registries] : answer.registries;
  const isAnyGone = answer.registries.some((registry) => registry.state !== "live");
  $("registries").hidden = !several && !isAnyGone;
  const make = () =>
    html("button", { type: "button" }, html("bdi"), html("span", { className: "note fault" }));
  // Names need not be different.
  const numbered = items.map((item, at) => ({ ...item, at }));
  sync(
    $("registries"),
    numbered,
    (item) => item.at,
    make,
    (button, item) => {
      put(button.firstChild, item.title ?? item.name);
      const state =
        {
          dropped: "dropped",
          unreadable: "unreadable: a key's Clone, Hash or Eq panics",
        }[item.state] ?? "";
      put(button.lastChild, state);
      button.lastChild.hidden = !state;
      button.setAttribute("aria-pressed", String(asked.registry === item.name));
      button.onclick = () => ask({ registry: asked.registry === item.name ? "" : item.name });
    },
  );
}

const past = []; // of the last minutes: when, and what was said of the registries

const isAsked = (registry) => !asked.registry || registry.name === asked.registry;

function total(registries, number) {
  return registries.filter(isAsked).reduce((sum, registry) => sum + (number(registry) ?? 0), 0);
}

function showTotals(answer) {
  const now = answer.registries;
  past.push({ taken: answer.taken, registries: now });
  while (past[0].taken < answer.taken - HISTORY) past.shift();
  const isCounted = now.some((registry) => isAsked(registry) && registry.calls);
  document.body.classList.toggle("uncounted", !isCounted);
  $("uncounted").hidden = isCounted;
  put($("handlers"), count(total(now, (registry) => registry.handlers)));
  const grown = total(now, (registry) => registry.grown);
  put($("handlers-grown"), growth(grown));
  mark($("handlers-grown"), "up", grown > 0);
  put($("rate"), isCounted ? whole(total(now, (it) => it.calls?.per_second)) : "–");
  put($("topics-count"), count(total(now, (registry) => registry.topics)));
  put($("handles"), count(total(now, (registry) => registry.handles)));
  put($("panics"), count(total(now, (registry) => registry.panics)));
  mark($("panics"), "fault-text", total(now, (registry) => registry.panics) > 0);
  put($("since"), clock(answer.since));
  chart("handlers", (registry) => registry.handlers);
  chart("rate", (registry) => registry.calls?.per_second);
}

function chart(id, number) {
  const isKnown = (point) =>
    point.registries.some((registry) => isAsked(registry) && number(registry) != null);
  const points = past
    .filter(isKnown)
    .map((point) => [point.taken, total(point.registries, number)]);
  if (!points.length) return;
  const end = points.at(-1)[0];
  const span = Math.max(60_000, end - points[0][0]);
  const values = points.map(([, value]) => value);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const x = (taken) => (300 * (1 - (end - taken) / span)).toFixed(1);
  const y = (value) => (46 - (44 * value) / (most || 1)).toFixed(1);
  let [line, area, start] = ["", "", null];
  points.forEach(([taken, value], at) => {
    // Nothing is known of a time in which nobody looked.
    const isGap = at === 0 || taken - points[at - 1][0] > 5 * EVERY;
    if (isGap && start !== null) area += `L${x(points[at - 1][0])} 48L${start} 48Z`;
    if (isGap) start = x(taken);
    line += (isGap ? "M" : "L") + x(taken) + " " + y(value);
    area += (isGap ? "M" : "L") + x(taken) + " " + y(value);
  });
  area += `L${x(end)} 48L${start} 48Z`;
  const svg = $(id + "-chart");
  if (!svg.firstChild) {
    for (const name of ["area", "line"]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", name);
      svg.append(path);
    }
  }
  svg.firstChild.setAttribute("d", area);
  svg.lastChild.setAttribute("d", line);
  const range = `${count(Math.round(least))} to ${count(Math.round(most))}`;
  const minutes = `last ${Math.ceil(span / 60_000)} min`;
  svg.setAttribute("aria-label", `${range} in the ${minutes}`);
  put($(id + "-range"), range);
  put(svg.nextElementSibling.querySelector(".span"), minutes);
}

// ---- Panics and slow calls.

function makeReport() {
  const parts = ["note", "key", "message", "from"];
  const nodes = parts.map((className) => html(className === "key" ? "bdi" : "span", { className }));
  return html("li", {}, ...nodes);
}

function showReports(answer) {
  const keyOf = (report) =>
    JSON.stringify([report.kind, report.registry, report.key, report.place, report.name]);
  const shown = allReports ? answer.reports : answer.reports.slice(0, FEW_REPORTS);
  sync($("reports"), shown, keyOf, makeReport, (row, report) => {
    const [kind, key, message, from] = row.children;
    const isPanic = report.kind === "panic";
    put(
      kind,
      (isPanic ? "panic" : "slow call") + (report.times > 1 ? ` × ${count(report.times)}` : ""),
    );
    mark(kind, "fault", isPanic);
    mark(kind, "warn", !isPanic);
    putKey(key, report.key);
    put(message, report.message ?? `took ${report.times > 1 ? "up to " : ""}${time(report.nanos)}`);
    const where = report.name == null ? report.place : `${report.name} – ${report.place}`;
    put(from, `${where} · ${report.registry} · ${ago(answer.taken - report.last)}`);
  });
  $("no-reports").hidden = answer.reports.length > 0;
  const more = answer.reports.length - FEW_REPORTS;
  $("more-reports").hidden = more <= 0;
  put($("more-reports"), allReports ? "Fewer reports" : `${count(more)} more`);
}

// ---- Asking.

let current = null; // the request under way
let timer = 0;
let lastAnswer = null;

function show(answer) {
  put($("program"), answer.program);
  put($("pid"), "process " + answer.pid);
  document.title = `Topics of ${answer.program}`;
  since = answer.since ?? since;
  showRegistries(answer);
  showTotals(answer);
  showPlaces(answer);
  showTopics(answer);
  showReports(answer);
}

function problem(text) {
  put($("problem"), text);
  $("problem").hidden = !text;
}

function status() {
  put($("status"), isPaused ? "paused" : $("problem").hidden ? "live" : "no answer");
}

async function load(signal) {
  const query = parameters();
  query.set("since", since);
  query.set("limit", limit);
  if (open.size) query.set("open", [...open].join(","));
  const response = await fetch("topics.json?" + query, { signal, cache: "no-store" });
  // What is too long to be a request has no answer but its status.
  const answer = await response.json().catch((why) => {
    throw response.ok ? why : new Error(`The program refuses this: status ${response.status}.`);
  });
  if (answer.version !== VERSION) {
    throw new Error(
      `This page is of version ${VERSION}, the program of ${answer.version}: reload the page.`,
    );
  }
  if (answer.error) throw new Error(answer.error);
  return answer;
}

/** Asks now, and again every second. What was asked before no longer matters. */
async function refresh() {
  clearTimeout(timer);
  current?.abort();
  const request = new AbortController();
  current = request;
  const late = setTimeout(() => request.abort("late"), PATIENCE);
  try {
    const answer = await load(request.signal);
    if (current !== request) return;
    lastAnswer = answer;
    show(answer);
    problem("");
  } catch (why) {
    if (current !== request) return;
    const when = lastAnswer ? ` since ${clock(lastAnswer.taken)}, and the numbers are of then` : "";
    const isNetwork = why instanceof TypeError || why === "late";
    problem(
      isNetwork
        ? `No answer${when}: the program has ended, its inspector was dropped, or it hangs.`
        : String(why.message ?? why),
    );
  } finally {
    clearTimeout(late);
    if (current === request) {
      current = null;
      status();
      if (!isPaused && !document.hidden) timer = setTimeout(refresh, EVERY);
    }
  }
}

// ---- The user.

head($("topics-head"), "Key", TOPIC_COLUMNS, true);
head($("places-head"), "Place", PLACE_COLUMNS, false);
$("filter").value = asked.filter;

let typed = 0;
$("filter").oninput = () => {
  clearTimeout(typed);
  typed = setTimeout(() => ask({ filter: $("filter").value }), 120);
};
$("only-place").onclick = () => ask({ place: "" });
$("anew").onclick = () => {
  since = "new";
  refresh();
};
$("more-topics").onclick = () => {
  limit = Math.min(MOST, limit + PAGE);
  refresh();
};
$("more-places").onclick = () => {
  allPlaces = !allPlaces;
  if (lastAnswer) showPlaces(lastAnswer);
};
$("more-reports").onclick = () => {
  allReports = !allReports;
  if (lastAnswer) showReports(lastAnswer);
};
$("pause").onclick = () => {
  isPaused = !isPaused;
  $("pause").setAttribute("aria-pressed", String(isPaused));
  refresh();
};
for (const button of document.querySelectorAll("[data-show]")) {
  button.onclick = () => ask({ show: button.dataset.show });
}
for (const button of document.querySelectorAll("[data-by]")) {
  button.onclick = () => ask({ by: button.dataset.by, place: "" });
}

document.onvisibilitychange = () => {
  if (!document.hidden && !isPaused) refresh();
};

document.onkeydown = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target === $("filter");
  if (isTyping && event.key === "Escape") {
    $("filter").value = "";
    ask({ filter: "" });
  } else if (!isTyping && event.key === "/") {
    event.preventDefault();
    $("filter").focus();
  } else if (!isTyping && event.key === "p") {
    $("pause").click();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const buttons = [...document.querySelectorAll(".open")];
    const at = buttons.indexOf(event.target);
    if (at < 0) return;
    event.preventDefault();
    buttons[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  }
};

refresh();
