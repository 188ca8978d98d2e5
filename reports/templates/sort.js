"use strict";
// Headers become buttons that sort; without this script the table stays as it was written.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  heads.forEach((head, column) => {
    if ("unsortable" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isNumber = head.classList.contains("num");
      const before = head.getAttribute("aria-sort");
      const isUp = before ? before === "descending" : !isNumber;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      const order = (a, b) => (isNumber ? a - b : a.localeCompare(b, undefined, { numeric: true }));
      const isMissing = (text) => isNumber && !Number.isFinite(parseFloat(text));
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort(([a], [b]) => isMissing(a) - isMissing(b) || (isMissing(a) ? 0 : order(a, b) * (isUp ? 1 : -1)));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
