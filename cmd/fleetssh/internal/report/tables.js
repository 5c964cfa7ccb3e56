"use strict";
// Makes tables sortable by their heads, the table of hosts searchable, and the line for a rerun easy to
// copy. Opens all output for printing.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.v ?? cell.textContent.trim();
};
const order = new Intl.Collator(undefined, { numeric: true });
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
      rows.sort((a, b) => (down ? order.compare(b[0], a[0]) : order.compare(a[0], b[0])));
      body.append(...rows.map((pair) => pair[1]));
    });
  });
}
for (const table of document.querySelectorAll("table.filtered")) {
  const rows = [...table.tBodies[0].rows];
  const label = document.createElement("label");
  label.textContent = "Show hosts with ";
  const input = document.createElement("input");
  input.type = "search";
  label.append(input);
  const count = document.createElement("output");
  const bar = document.createElement("div");
  bar.className = "filter";
  bar.append(label, count);
  table.parentElement.before(bar);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const filter = () => {
    const wanted = input.value.toLowerCase();
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !texts[i].includes(wanted);
      if (!row.hidden) shown++;
    });
    count.textContent = shown + " of " + rows.length;
  };
  input.addEventListener("input", filter);
  filter();
}
const rerun = document.getElementById("rerun");
if (rerun) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  const said = document.createElement("output");
  said.className = "dim";
  rerun.after(button, " ", said);
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(rerun); // for browsers that do not let a file write to the clipboard
    try {
      await navigator.clipboard.writeText(rerun.textContent);
      said.textContent = "copied";
    } catch {
      said.textContent = document.execCommand("copy") ? "copied" : "selected";
    }
  });
}
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const part of closed) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});
