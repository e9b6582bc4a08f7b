"use strict";
// What pages do beyond links and forms. Everything works without it, but for charts in time.
(() => {
  const cookie = (name, value) => { document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=lax`; };
  const root = document.documentElement;
  const dark = () => root.dataset.theme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const charts = new Set();

  // --- numbers -------------------------------------------------------------------------------------------------------
  const locale = navigator.language || "en";
  const money = (value, currency) => {
    if (value == null) return "–";
    const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2, ...(Math.abs(value) < 1 ? { maximumSignificantDigits: 3, roundingPriority: "morePrecision" } : {}) };
    return new Intl.NumberFormat(locale, { style: "currency", currency, ...digits }).format(value);
  };
  const short = (value) => new Intl.NumberFormat(locale, { notation: "compact", maximumSignificantDigits: 3 }).format(value);
  const shown = (value, data) => data.unit === "money" ? money(value, data.currency || "USD") : value == null ? "–" : short(value) + (data.unit === "percent" ? " %" : "");

  // --- charts --------------------------------------------------------------------------------------------------------
  const stackedValues = (series) => {
    const sums = [];
    return series.map((one) => one.values.map((value, at) => (sums[at] = (sums[at] || 0) + (value || 0))));
  };
  const draw = (box) => {
    const data = JSON.parse(box.dataset.chart);
    const values = data.stacked ? stackedValues(data.series) : data.series.map((one) => one.values);
    const line = (one, at) => {
      const stroke = color(one.color || `c${at % 10}`);
      const real = (_, value, index, position) => position == null ? "–" : shown(one.values[position], data);
      const bars = one.kind === "bars" || data.bars ? { paths: uPlot.paths.bars({ size: [0.8, 60], align: 1 }) } : {};
      return { label: one.name, stroke, width: one.kind === "edge" || data.bars ? 0 : 1.5, fill: data.stacked || one.kind === "bars" ? (data.stacked ? stroke : `${stroke}99`) : undefined,
        dash: one.kind === "dashed" ? [5, 4] : undefined, points: { show: data.x.length < 3 }, value: real, ...bars };
    };
    // Of a stack the highest sum is drawn first, so that those below stand before it.
    const order = values.map((_, at) => at);
    if (data.stacked) order.reverse();
    const axis = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const size = () => ({ width: Math.max(260, box.clientWidth), height: Number(box.dataset.height) || 220 });
    const bands = (data.bands || []).map(([upper, lower]) => ({ series: [upper + 1, lower + 1], fill: `${color("c0")}2b` }));
    box.replaceChildren();
    const chart = new uPlot({
      ...size(), legend: { show: true, live: true }, cursor: { drag: { x: Boolean(data.zooms), y: false } },
      scales: { x: { time: true, range: (_, low, high) => [low, data.bars && data.x.length > 1 ? high + data.x[1] - data.x[0] : high] }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.06 : 1] } },
      axes: [axis, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => data.unit === "money" ? money(tick, data.currency || "USD") : shown(tick, data)) }],
      series: [{ value: (_, at) => at == null ? "–" : new Date(at * 1000).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short", timeZone: data.zone }) },
        ...order.map((at) => line(data.series[at], at))],
      tzDate: data.zone ? (at) => uPlot.tzDate(new Date(at * 1000), data.zone) : undefined,
      bands, hooks: data.zooms ? { setSelect: [(plot) => zoom(plot)] } : {},
    }, [data.x, ...order.map((at) => values[at])], box);
    const follow = new ResizeObserver(() => chart.setSize(size()));
    follow.observe(box);
    charts.add(box);
    if (data.opens) chart.over.addEventListener("click", () => { const at = chart.cursor.idx; if (at != null && data.opens[at]) location.assign(data.opens[at]); });
  };
  const zoom = (plot) => {
    if (plot.select.width < 8) return;
    const at = (pixels) => new Date(plot.posToVal(pixels, "x") * 1000).toISOString();
    const url = new URL(location.href);
    url.searchParams.delete("range");
    url.searchParams.set("from", at(plot.select.left));
    url.searchParams.set("to", at(plot.select.left + plot.select.width));
    location.assign(url);
  };
  const drawAll = () => document.querySelectorAll(".chart[data-chart]").forEach((box) => { if (!charts.has(box)) draw(box); });

  // --- small things --------------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const toggle = event.target.closest("[data-toggles]");
    if (toggle) toggle.setAttribute("aria-expanded", String(document.getElementById(toggle.dataset.toggles).classList.toggle("open")));
    if (event.target.closest("[data-theme-switch]")) {
      root.dataset.theme = dark() ? "light" : "dark";
      cookie("otel_finops_theme", root.dataset.theme);
      charts.forEach(draw);
    }
    const copied = event.target.closest("[data-copies]");
    if (copied && navigator.clipboard && !String(getSelection())) navigator.clipboard.writeText(copied.textContent).then(() => { copied.dataset.copied = ""; setTimeout(() => delete copied.dataset.copied, 1200); });
    document.querySelectorAll("details.picker[open]").forEach((one) => { if (!one.contains(event.target)) one.open = false; });
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") document.querySelectorAll("details.picker[open]").forEach((one) => { one.open = false; one.querySelector("summary").focus(); }); });
  document.addEventListener("change", (event) => { if (event.target.matches("[data-submits]")) event.target.form.requestSubmit(); });
  document.addEventListener("submit", (event) => { const asks = event.target.dataset.confirm; if (asks && !confirm(asks)) event.preventDefault(); });
  document.addEventListener("htmx:after:swap", () => drawAll());

  const counter = document.querySelector("[data-seconds]"), began = performance.now();
  if (counter) {
    const ticking = setInterval(() => { if (counter.isConnected) counter.textContent = Math.round((performance.now() - began) / 1000); else clearInterval(ticking); }, 500);
  }

  // --- charges as they come ------------------------------------------------------------------------------------------
  const body = document.querySelector("[data-live]");
  if (body) {
    const state = document.querySelector("[data-live-state]"), pause = document.querySelector("[data-live-pause]");
    let first = true, paused = false, held = "";
    const show = (html) => {
      body.insertAdjacentHTML("afterbegin", html);
      while (body.rows.length > Number(body.dataset.liveRows)) body.lastElementChild.remove();
    };
    const source = new EventSource(body.dataset.live);
    source.addEventListener("open", () => { state.textContent = "live"; });
    source.addEventListener("error", () => { state.textContent = source.readyState === EventSource.CLOSED ? "ended" : "connecting"; });
    source.addEventListener("end", (event) => { state.textContent = event.data; source.close(); });
    source.addEventListener("rows", (event) => {
      const template = document.createElement("template");
      template.innerHTML = JSON.parse(event.data);
      const html = [...template.content.querySelectorAll("tr")].reverse().map((row) => row.outerHTML).join("");
      if (first) body.replaceChildren();
      first = false;
      if (paused) held = html + held; else show(html);
    });
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Go on" : "Pause";
      if (!paused) { show(held); held = ""; }
    });
    addEventListener("pagehide", () => source.close());
  }
  // --- what is looked at in a trace: put into its place without the whole page ----------------------------------------
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-selects] a[href*='span=']");
    if (!link || !window.htmx || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const url = new URL(link.href && link.href.baseVal !== undefined ? link.href.baseVal : link.href, location.href);
    const target = document.getElementById(link.closest("[data-selects]").dataset.selects);
    htmx.ajax("GET", url.pathname + url.search, { target, swap: "outerHTML" }).then(() => {
      history.pushState(null, "", url.pathname + url.search);
      document.querySelectorAll("[data-selects] .chosen, [data-selects] [aria-current]:not(.chip)").forEach((one) => { one.classList.remove("chosen"); one.removeAttribute("aria-current"); });
      link.setAttribute("aria-current", "true");
      const line = link.closest(".line");
      if (line) line.classList.add("chosen");
      if (matchMedia("(max-width: 1100px)").matches) document.getElementById(target.id).scrollIntoView();
    });
  });
  if (document.querySelector("[data-selects]")) addEventListener("popstate", () => location.reload());
  cookie("otel_finops_zone", Intl.DateTimeFormat().resolvedOptions().timeZone);
  drawAll();
})();
