"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let charts = [];
  const draw = () => {
    charts.forEach(c => c.destroy());
    const ink = css("--ink"), line = css("--line"), colours = ["--c1", "--c2", "--c3", "--c4", "--c5"].map(css);
    Chart.defaults.color = ink;
    Chart.defaults.borderColor = line;
    Chart.defaults.font.family = "system-ui, sans-serif";
    Chart.defaults.animation = false;
    const legend = {position: "bottom", labels: {boxWidth: 14}};
    charts = [
      new Chart(document.getElementById("days"), {
        type: "bar",
        data: {labels: figures.Days, datasets: [
          {label: "new", data: figures.New, backgroundColor: colours[0], stack: "all"},
          {label: "returning", data: figures.Returning, backgroundColor: colours[1], stack: "all"},
        ]},
        options: {maintainAspectRatio: false, plugins: {legend}, scales: {x: {stacked: true, grid: {display: false}, ticks: {maxRotation: 0, autoSkipPadding: 12}}, y: {stacked: true, beginAtZero: true, ticks: {precision: 0}}}},
      }),
      new Chart(document.getElementById("via"), {
        type: "doughnut",
        data: {labels: (figures.Via || []).map(v => v.Name), datasets: [{data: (figures.Via || []).map(v => v.N), backgroundColor: colours, borderColor: css("--card")}]},
        options: {maintainAspectRatio: false, plugins: {legend}},
      }),
      new Chart(document.getElementById("campaigns"), {
        type: "bar",
        data: {labels: figures.Campaigns || [], datasets: [{label: "€", data: figures.Revenue || [], backgroundColor: colours[0]}]},
        options: {indexAxis: "y", maintainAspectRatio: false, plugins: {legend: {display: false}}, scales: {x: {beginAtZero: true}, y: {grid: {display: false}}}},
      }),
    ];
    document.documentElement.dataset.charts = charts.length;
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
