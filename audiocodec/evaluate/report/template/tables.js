"use strict";
// Tables that sort by their headings, the filter of the table of recordings, and the legend of the charts.
(() => {
  document.documentElement.classList.add("scripted");

  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.tagName === "TH") return cell.textContent;
    const value = cell.dataset.sort;
    if (value === undefined) return null;
    return Number.isNaN(Number(value)) ? value : Number(value);
  };

  // Text by the order that people give it (file2 before file10); what is missing stays last, whichever way.
  const compare = (a, b, way) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return way * (a - b);
    return way * String(a).localeCompare(String(b), undefined, { numeric: true });
  };

  for (const button of document.querySelectorAll("thead th button")) {
    button.addEventListener("click", () => {
      const heading = button.parentElement;
      const body = heading.closest("table").tBodies[0];
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => [key(row, heading.cellIndex), row]);
      keyed.sort((a, b) => compare(a[0], b[0], ascending ? 1 : -1));
      body.append(...keyed.map(([, row]) => row));
    });
  }

  const filter = document.querySelector(".filter");
  if (filter) {
    const rows = [...document.querySelector(".recordings tbody").rows];
    const apply = () => {
      const text = filter.elements.text.value.toLowerCase();
      const group = filter.elements.group.value;
      let shown = 0;
      for (const row of rows) {
        const fits = row.cells[0].textContent.toLowerCase().includes(text) && (!group || row.dataset.group === group);
        row.hidden = !fits;
        shown += fits;
      }
      filter.elements.shown.value = `${shown} ${shown === 1 ? "line" : "lines"}`;
    };
    filter.addEventListener("input", apply);
    filter.addEventListener("submit", (event) => event.preventDefault());
    apply(); // a browser keeps what was typed over a reload
    // A link to a line that the filter hides shows it again.
    window.addEventListener("hashchange", () => {
      const row = document.getElementById(location.hash.slice(1));
      if (row && row.hidden) {
        filter.reset();
        apply();
        row.scrollIntoView({ block: "center" });
      }
    });
  }

  for (const button of document.querySelectorAll("[data-toggle]")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", on);
      for (const curve of document.querySelectorAll(`[data-series="${button.dataset.toggle}"]`)) {
        curve.classList.toggle("gone", !on);
      }
    });
  }
})();
