// Plots by uPlot, each with its values as text.
import { $, gps, head, number, rows, seconds } from "./format.js";

const HEIGHT = 220;
const TABLE = 24; // rows

// The width of an axis: its longest label is never cut.
const width = (_, labels) => 18 + 8 * Math.max(3, ...(labels || []).map((label) => String(label).length));

// One plot, made when there is something to draw, made anew when the colours or the labels change.
export function plotter(id, axes, series) {
  const element = $(id);
  let plot, made;
  const draw = (data, label) => {
    const style = getComputedStyle(document.documentElement);
    const [ink, line, main] = ["--quiet", "--line", "--main"].map((name) => style.getPropertyValue(name).trim());
    if (plot && made !== ink + main + label) clear();
    if (plot) {
      plot.setData(data);
      return;
    }
    made = ink + main + label;
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    plot = new uPlot(
      {
        width: Math.max(200, element.clientWidth), height: HEIGHT, legend: { show: false }, cursor: { y: false },
        scales: { x: { time: false }, y: series.scale || {} },
        axes: axes(label).map((own) => ({ ...axis, ...own })),
        series: [{}, { stroke: main, ...series.style(main) }],
      },
      data,
      element,
    );
    element.plot = plot;
  };
  const clear = () => {
    if (plot) plot.destroy();
    plot = undefined;
  };
  new ResizeObserver(() => plot && plot.setSize({ width: Math.max(200, element.clientWidth), height: HEIGHT })).observe(element);
  return { draw, clear };
}

const strain = plotter(
  "strain",
  (label) => [{ label: "seconds", labelSize: 20 }, { label, size: width, labelSize: 20 }],
  { style: () => ({ width: 1.25 }) },
);
const rates = plotter(
  "rates",
  () => [{ label: "seconds ago", labelSize: 20, values: (_, ticks) => ticks.map((t) => number(-t)) }, { size: width }],
  {
    scale: { range: (_, low, high) => [0, Math.max(1, (high || 0) * 1.1)] },
    style: (main) => ({ paths: uPlot.paths.bars({ size: [0.8, 20] }), fill: main, points: { show: false } }),
  },
);

// The channel that was typed, as a query; empty for that of the newest segment.
export function chosenStrain() {
  const name = $("strain-channel").value.trim();
  return name ? `?${new URLSearchParams({ strain: name })}` : "";
}

// The channels of a block to choose from. A name that was typed stays.
function showChoice(latest) {
  const names = latest ? latest.channels : [];
  const list = $("strain-channels");
  const known = [...list.children].map((option) => option.value);
  if (names.length && names.join("\n") !== known.join("\n")) {
    list.replaceChildren(...names.map((value) => Object.assign(document.createElement("option"), { value })));
  }
  $("strain-channel").placeholder = latest && !chosenStrain() ? latest.channel : "";
  $("strain-choice").hidden = !names.length && !chosenStrain();
}

export function showStrain(latest) {
  showChoice(latest);
  $("strain").hidden = $("strain-values").hidden = !latest;
  if (!latest) {
    strain.clear();
    $("strain-about").textContent = chosenStrain()
      ? "There is no strain of this channel in the newest segments; the list of channels has it all."
      : "Nothing to plot in this batch yet.";
    return;
  }
  let [low, high] = [Infinity, -Infinity];
  for (const value of latest.h) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const most = Math.max(Math.abs(low), Math.abs(high));
  const power = most ? Math.floor(Math.log10(most)) : 0;
  strain.draw([latest.x, latest.h.map((value) => value / 10 ** power)], power ? `strain (10^${power})` : "strain");
  const name = latest.channel || latest.detector;
  const about =
    `${name ? name + ", " : ""}${seconds(latest.seconds)} from GPS ${latest.t0.toFixed(4)}: ` +
    `from ${low.toExponential(2)} to ${high.toExponential(2)}`;
  $("strain-about").textContent = about;
  $("strain").setAttribute("aria-label", `Plot of the latest strain: ${about}`);
  if ($("strain-values").open) strainValues(latest);
}

function strainValues(latest) {
  const table = $("strain-values").querySelector("table");
  head(table.tHead, ["GPS time", "Lowest", "Highest"]);
  const step = Math.ceil(latest.h.length / TABLE);
  const intervals = [];
  for (let i = 0; i < latest.h.length; i += step) intervals.push([latest.x[i], latest.h.slice(i, i + step)]);
  rows(table.tBodies[0], intervals, ([x, part]) => [
    gps(latest.t0 + x), Math.min(...part).toExponential(3), Math.max(...part).toExponential(3),
  ]);
}

export function showRates(counts) {
  rates.draw([counts.map((_, i) => i - counts.length), counts.map((n) => n || null)], "");
  const total = counts.reduce((sum, n) => sum + n, 0);
  const about = `${number(total)} in the last minute, at most ${number(Math.max(...counts))} in one second`;
  $("rates-about").textContent = about;
  $("rates").setAttribute("aria-label", `Plot of segments per second: ${about}`);
  if ($("rates-values").open) {
    const table = $("rates-values").querySelector("table");
    head(table.tHead, ["Seconds ago", "Segments"]);
    const arrived = counts.map((n, i) => [counts.length - i, n]).filter(([, n]) => n).reverse();
    rows(table.tBodies[0], arrived.length ? arrived : [["1 to 60", 0]], ([ago, n]) => [String(ago), number(n)]);
  }
}
