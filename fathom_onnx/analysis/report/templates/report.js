"use strict";
// A click on a column's title sorts its table: numbers from the largest, words from the first, then the other way.
// In a column of numbers, what has none comes last either way.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const rows = [...body.rows].filter((row) => row.cells.length === heads.length);
      if (!rows.length) return;
      const lacks = (cell) => typeof cell !== "number";
      const numeric = rows.some((row) => !lacks(value(row, column)));
      const before = head.getAttribute("aria-sort");
      const ascending = before === "none" ? !numeric : before === "descending";
      const sign = ascending ? 1 : -1;
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (!numeric) return sign * x.localeCompare(y, "en", { numeric: true });
        return lacks(x) || lacks(y) ? lacks(x) - lacks(y) : sign * (x - y);
      });
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      body.append(...rows);
    });
  });
}
// A long table gets a field: only rows that hold what is typed in it stay.
for (const table of document.querySelectorAll("table.sortable")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 12) continue;
  const box = table.closest(".scroll");
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "search";
  field.setAttribute("aria-label", `Search ${box.getAttribute("aria-label")}`);
  const shown = document.createElement("output");
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    shown.textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
  const line = document.createElement("div");
  line.className = "search";
  line.append(field, shown);
  box.before(line);
}
