// Tables sort and filter, and the contents say where one is. Without this script the page shows the same.
"use strict";

const number = (cell) => {
  const text = cell.dataset.value ?? cell.textContent.trim().replaceAll("−", "-").replaceAll(",", "");
  const found = /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?/.exec(text);
  return found ? Number(found[0]) : null;
};
const missing = (cell) => ["", "–", "—"].includes(cell.textContent.trim());

function sortable(table, rows) {
  const means = rows.filter((row) => row.classList.contains("mean"));
  const others = rows.filter((row) => !means.includes(row));
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const there = others.map((row) => row.cells[column]).filter((cell) => !missing(cell));
      const numeric = there.length > 0 && there.every((cell) => number(cell) !== null);
      // Numbers begin with the largest; the third click gives the order of the study back.
      const orders = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
      const order = orders[(orders.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const compare = (one, other) => {
        const [a, b] = [one.cells[column], other.cells[column]];
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return sign * (numeric ? number(a) - number(b) : a.textContent.localeCompare(b.textContent, "en", { numeric: true }));
      };
      table.classList.toggle("sorted", order !== null);
      table.tBodies[0].append(...(order ? [...others].sort(compare).concat(means) : rows));
    });
  });
}

function filterable(box, rows) {
  const line = document.createElement("p");
  const input = document.createElement("input");
  const count = document.createElement("output");
  line.className = "filter";
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", `Filter rows: ${box.getAttribute("aria-label")}`);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); });
    count.textContent = input.value.trim() ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
  line.append(input, " ", count);
  box.before(line);
}

for (const box of document.querySelectorAll(".box.table")) {
  const table = box.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  if (rows.length > 2) sortable(table, rows);
  if (rows.length > 9) filterable(box, rows);
}

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    links.forEach((link) => link.removeAttribute("aria-current"));
    const link = links.get(entry.target.id);
    link.setAttribute("aria-current", "location");
    link.closest("nav").scrollLeft = link.offsetLeft - 16; // where the contents are a line
  }
}, { rootMargin: "-20% 0px -70% 0px" });
links.forEach((_, id) => { const section = document.getElementById(id); if (section) seen.observe(section); });
