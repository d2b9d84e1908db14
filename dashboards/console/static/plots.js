// Two charts over one axis: bits above, -log10 p below; a vertical line for each anomaly.
"use strict";
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lines = (marks) => (u) => {
    const g = u.ctx;
    g.save();
    g.strokeStyle = colour("--accent");
    g.globalAlpha = 0.55;
    g.lineWidth = devicePixelRatio;
    g.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const at of marks) {
      const x = Math.round(u.valToPos(at, "x", true));
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      g.beginPath();
      g.moveTo(x, u.bbox.top);
      g.lineTo(x, u.bbox.top + u.bbox.height);
      g.stroke();
    }
    g.restore();
  };
  const iso = (seconds) => new Date(seconds * 1000).toISOString();
  const clock = (u, splits, axis, space, step) => splits.map((at, i) => {
    const day = iso(at).slice(0, 10);
    if (step >= 86400) return day;
    const time = iso(at).slice(11, step >= 60 ? 16 : 19);
    return i === 0 || iso(splits[i - 1]).slice(0, 10) !== day ? `${time}\n${day}` : time;
  });
  const chart = (place, data, values, name, height, points) => {
    const first = data.x[0];
    const last = data.x[data.x.length - 1];
    const room = Math.max((last - first) * 0.04, 1800);
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    return new uPlot({
      width: place.clientWidth, height, cursor: { sync: { key: "driftlock" }, drag: { x: true, y: false } },
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { x: { time: data.timed, range: (u, low, high) => (points && !(low > first && high < last) ? [first - room, last + room] : [low, high]) }, y: { range: (u, low, high) => [0, Math.max(high || 1, 1) * 1.08] } },
      axes: [{ ...axis, space: 70, ...(data.timed ? { values: clock } : {}) }, { ...axis, label: name, labelSize: 18, labelFont: "12px system-ui, sans-serif", size: 46 }],
      series: [{}, { stroke: colour("--ink"), width: points ? 0 : 1, fill: points ? undefined : colour("--well"), points: { show: points, size: 7, fill: colour("--accent"), stroke: colour("--accent") } }],
      hooks: { draw: [lines(data.marks)] },
    }, [data.x, values], place);
  };
  const draw = (place, data) => {
    place.replaceChildren();
    if (!data.x.length) return;
    chart(place, data, data.bits, "bits", 190, data.points === true);
    chart(place, data, data.decades, "−log10 p", 150, data.points === true);
  };
  for (const place of document.querySelectorAll("[data-plot]")) {
    fetch(place.dataset.plot).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status))).then((data) => {
      let width = 0;
      const redraw = () => { width = place.clientWidth; draw(place, data); };
      new ResizeObserver(() => { if (place.clientWidth !== width) redraw(); }).observe(place);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    }).catch(() => { place.textContent = "The plot can't be drawn now."; });
  }
})();
