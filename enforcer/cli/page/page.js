"use strict";
// Draws the grid from the data in the page. Every text goes in as a text node: names are never read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const filters = { from: by("from"), to: by("to"), proto: by("proto"), verdict: by("verdict") };
const MARKS = { allow: "✓", deny: "✕", none: "∅" };
const VERDICTS = { allow: "allowed", deny: "denied by rules", none: "no route" };
const MANY = 6000; // so many cells are drawn one kind of traffic at a time

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A denied pair without a way is a kind of its own: no rule could let it through.
function kind(explanation) {
  if (explanation.verdict === "allow") return "allow";
  return explanation.route ? "deny" : "none";
}

function matching(input) {
  const wanted = input.value.trim().toLowerCase();
  const indices = [...data.hosts.keys()];
  if (!wanted) return indices;
  const exact = indices.filter((i) => data.hosts[i].name.toLowerCase() === wanted);
  if (exact.length) return exact;
  return indices.filter((i) => [data.hosts[i].name, ...data.hosts[i].addresses].some((t) => t.toLowerCase().includes(wanted)));
}

function chosenColumns() {
  const every = [...data.columns.keys()];
  return filters.proto.value === "" ? every : [Number(filters.proto.value)];
}

function chip(source, destination, column) {
  const explanation = data.explanations[data.cells[source][destination][column]];
  const what = kind(explanation);
  const text = data.columns[column].text;
  const said = `${data.hosts[source].name} to ${data.hosts[destination].name}, ${text}: ${VERDICTS[what]}`;
  const made = element("button", { type: "button", class: `chip ${what}`, "aria-label": said, "aria-pressed": "false",
    title: said, tabindex: "-1" }, `${MARKS[what]} ${data.columns[column].label}`);
  made.cell = [source, destination, column];
  return made;
}

function heading(host, scope) {
  const addresses = host.addresses.join(", ");
  const made = element("th", { scope, title: `${host.name} ${addresses}`, class: host.kind }, host.name);
  made.append(element("small", {}, host.addresses[0] || ""));
  return made;
}

function draw() {
  const sources = matching(filters.from), destinations = matching(filters.to), columns = chosenColumns();
  const rows = [], used = new Set();
  const counts = { allow: 0, deny: 0, none: 0 };
  for (const source of sources) {
    const row = new Map();
    for (const destination of destinations) {
      if (source === destination) continue;
      const fitting = columns.filter((column) => {
        const what = kind(data.explanations[data.cells[source][destination][column]]);
        const fits = !filters.verdict.value || filters.verdict.value === what;
        if (fits) counts[what] += 1;
        return fits;
      });
      if (fitting.length) { row.set(destination, fitting); used.add(destination); }
    }
    if (row.size) rows.push([source, row]);
  }
  const shown = destinations.filter((destination) => used.has(destination));
  const corner = element("th", { scope: "col" }, "from ↓ · to →");
  const head = element("thead", {}, element("tr", {}, corner, ...shown.map((d) => heading(data.hosts[d], "col"))));
  const body = element("tbody", {});
  for (const [source, row] of rows) {
    body.append(element("tr", {}, heading(data.hosts[source], "row"), ...shown.map((destination) => {
      if (source === destination) return element("td", { class: "self" });
      const chips = (row.get(destination) || []).map((column) => chip(source, destination, column));
      return element("td", {}, element("div", { class: "cell" }, ...chips));
    })));
  }
  by("grid").replaceChildren(...(rows.length ? [head, body] : []));
  by("nothing").hidden = rows.length > 0;
  by("count").textContent = Object.keys(counts).map((what) => `${counts[what]} ${VERDICTS[what]}`).join(" · ");
  const first = by("grid").querySelector(".chip");
  if (first) first.tabIndex = 0;
  mark();
}

let chosen = null;

function mark() {
  for (const one of by("grid").querySelectorAll(".chip")) {
    one.setAttribute("aria-pressed", String(chosen !== null && one.cell.join() === chosen.join()));
  }
}

function explain(cell) {
  chosen = cell;
  const [source, destination, column] = cell;
  const explanation = data.explanations[data.cells[source][destination][column]];
  const what = kind(explanation);
  const title = `${data.hosts[source].name} → ${data.hosts[destination].name}, ${data.columns[column].text}`;
  const parts = [element("h2", {}, title), element("p", { class: `verdict ${what}` }, `${MARKS[what]} ${VERDICTS[what]}`)];
  if (/[-,]/.test(data.columns[column].label)) {
    parts.push(element("p", { class: "hint" }, `${data.columns[column].word} stands for all of them.`));
  }
  for (const lines of explanation.words) {
    let list = null;
    for (const line of lines.map((number) => data.lines[number])) {
      if (line.startsWith("  - ")) {
        if (!list) parts.push(list = element("ul", {}));
        list.append(element("li", {}, line.slice(4)));
      } else {
        parts.push(element("p", { class: line.startsWith("  ") ? "under" : null }, line.trim()));
      }
    }
  }
  by("explanation").replaceChildren(...parts);
  document.body.classList.add("open");
  by("panel").scrollTop = 0;
  mark();
  const words = [data.hosts[source].name, data.hosts[destination].name, data.columns[column].word];
  history.replaceState(null, "", `#${words.map(encodeURIComponent).join(",")}`);
}

function close() {
  if (chosen === null) return;
  const was = [...by("grid").querySelectorAll(".chip")].find((one) => one.cell.join() === chosen.join());
  chosen = null;
  document.body.classList.remove("open");
  by("explanation").replaceChildren(element("p", { class: "hint" }, "Choose a cell to see why."));
  mark();
  history.replaceState(null, "", "#");
  if (was) was.focus();
}

// One chip is in the tab order; arrow keys go to its neighbours, over rows by the place on the screen.
function move(from, key) {
  const chips = [...by("grid").querySelectorAll(".chip")];
  const at = chips.indexOf(from);
  let to = null;
  if (key === "ArrowRight") to = chips[at + 1];
  else if (key === "ArrowLeft") to = chips[at - 1];
  else if (key === "Home") to = chips[0];
  else if (key === "End") to = chips[chips.length - 1];
  else {
    const here = from.getBoundingClientRect();
    const side = key === "ArrowDown" ? 1 : -1;
    const distance = (one) => {
      const there = one.getBoundingClientRect();
      const down = (there.top - here.top) * side;
      return down < 4 ? Infinity : down * 4 + Math.abs(there.left - here.left);
    };
    const nearest = chips.reduce((best, one) => (distance(one) < distance(best) ? one : best), from);
    to = distance(nearest) < Infinity ? nearest : null;
  }
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
  to.scrollIntoView({ block: "nearest", inline: "nearest" });
}

by("grid").addEventListener("click", (event) => {
  const one = event.target.closest(".chip");
  if (one) explain(one.cell);
});
by("grid").addEventListener("keydown", (event) => {
  if (!/^(Arrow|Home$|End$)/.test(event.key) || !event.target.cell) return;
  event.preventDefault();
  move(event.target, event.key);
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
by("close").addEventListener("click", close);
by("filters").addEventListener("input", draw);
by("filters").addEventListener("submit", (event) => event.preventDefault());
by("filters").addEventListener("reset", () => setTimeout(draw));

by("file").textContent = data.title.replace(/^Who reaches whom:? ?/, "");
by("hosts").append(...data.hosts.map((host) => element("option", { value: host.name })));
filters.proto.append(...data.columns.map((column, index) => element("option", { value: index }, column.text)));
if (data.hosts.length ** 2 * data.columns.length > MANY) {
  filters.proto.value = "0";
  filters.proto.querySelector("[value='']").textContent = "all (slow)";
}
draw();
const wanted = location.hash.slice(1).split(",").map((word) => { try { return decodeURIComponent(word); } catch { return ""; } });
if (wanted.length === 3) {
  const name = (word) => data.hosts.findIndex((host) => host.name === word);
  const cell = [name(wanted[0]), name(wanted[1]), data.columns.findIndex((column) => column.word === wanted[2])];
  if (!cell.includes(-1) && cell[0] !== cell[1]) explain(cell);
}
