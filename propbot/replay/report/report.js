// Draws the figures in the page's colours, in light and in dark, and sorts tables by a click on a heading.
"use strict";

const config = {displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
let drawnWidth = 0, redraw = 0;
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function inPageColours(layout) {
  const coloured = structuredClone(layout);
  const family = getComputedStyle(document.body).fontFamily;
  const text = colour("--text"), grid = colour("--line"), panel = colour("--panel");
  coloured.paper_bgcolor = coloured.plot_bgcolor = "rgba(0,0,0,0)";
  coloured.font = {...coloured.font, color: text, size: 12, family};
  coloured.hoverlabel = {...coloured.hoverlabel, bgcolor: panel, bordercolor: grid, font: {color: text, family}};
  coloured.modebar = {bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: text};
  for (const name of Object.keys(coloured).filter(key => /^[xy]axis\d*$/.test(key))) {
    Object.assign(coloured[name], {gridcolor: grid, linecolor: grid, zerolinecolor: colour("--zero"), automargin: true});
  }
  return coloured;
}

// Afresh each time: a legend above its plot stays where it was when plotly itself follows a change of width.
function draw() {
  drawnWidth = document.documentElement.clientWidth;
  for (const place of document.querySelectorAll("div.plot")) {
    const {data, layout} = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    Plotly.newPlot(place, data, inPageColours(layout), config);
  }
}

function sortBy(heading) {
  const table = heading.closest("table"), column = heading.parentElement.cellIndex;
  const ascending = heading.parentElement.getAttribute("aria-sort") !== "ascending";
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  heading.parentElement.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = row => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const number = text => text === "" ? NaN : Number(text);
  const compare = (a, b) => {
    const x = key(a), y = key(b), m = number(x), n = number(y);
    if (Number.isNaN(m) !== Number.isNaN(n) && (x === "" || y === "")) return x === "" ? 1 : -1;  // unknown goes last
    const order = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n;
    return ascending ? order : -order;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

for (const heading of document.querySelectorAll("th button")) {
  heading.addEventListener("click", () => sortBy(heading));
}
dark.addEventListener("change", draw);
window.addEventListener("resize", () => {
  clearTimeout(redraw);
  if (document.documentElement.clientWidth !== drawnWidth) redraw = setTimeout(draw, 150);
});
draw();
document.documentElement.dataset.drawn = "yes";
