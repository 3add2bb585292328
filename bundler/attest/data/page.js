
"use strict";
// The page is whole without this; it adds sorting to every table, and finding to the one of packages.
(() => {
  const order = new Intl.Collator("en", {numeric: true, sensitivity: "base"});
  const status = document.getElementById("status");

  const key = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
  };
  const compare = (one, other) => typeof one === "number" ? one - other : order.compare(one, other);

  const sort = (table, head) => {
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, row => [key(row, head.cellIndex), row]);
    rows.sort((one, other) => (falling ? -1 : 1) * compare(one[0], other[0]));
    body.append(...rows.map(pair => pair[1]));
    status.textContent = `Sorted by ${head.textContent}, ${falling ? "falling" : "rising"}`;
  };

  for (const table of document.querySelectorAll("table")) {
    for (const head of table.tHead.rows[0].cells) {
      if ("plain" in head.dataset) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, head));
      head.append(button);
    }
  }

  const packages = document.getElementById("package-table");
  const find = document.getElementById("find");
  if (!packages || !find) return;
  const [words, venv, target, changed] = ["words", "venv", "target", "changed"].map(id => document.getElementById(id));
  const found = document.getElementById("found");
  // Digests hold any short word of the letters a to f: only a long one is looked for in them.
  const digest = /[0-9a-f]{40,}/g, part = /^[0-9a-f]{8,}$/;
  const rows = Array.from(packages.tBodies[0].rows, row => {
    const whole = row.textContent.toLowerCase();
    return {row, whole, text: whole.replace(digest, ""), places: row.dataset.p.split(" "), changed: "c" in row.dataset};
  });
  // An option's value lists the places (a venv on a target) that it stands for.
  const chosen = select => select.value ? new Set(select.value.split(" ")) : null;

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const sets = [chosen(venv), chosen(target)].filter(Boolean);
    let shown = 0;
    for (const one of rows) {
      const here = (!sets.length || one.places.some(place => sets.every(set => set.has(place))))
        && (!changed || !changed.checked || one.changed) && wanted.every(word => (part.test(word) ? one.whole : one.text).includes(word));
      one.row.hidden = !here;
      shown += here;
    }
    found.textContent = `${shown} of ${rows.length} shown`;
  };

  find.hidden = false;
  find.addEventListener("input", filter);
  find.addEventListener("submit", event => event.preventDefault());
  find.addEventListener("reset", () => setTimeout(filter));
  for (const link of document.querySelectorAll("a[data-venv]")) {
    link.addEventListener("click", () => {
      find.reset();
      venv.value = link.dataset.venv;
      target.value = link.dataset.target;
      filter();
      words.focus({preventScroll: true});
    });
  }
  // Browsers keep what was typed when a page is loaded again.
  filter();
})();
