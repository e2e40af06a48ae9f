/* The report: charts whose bars choose records, and the gallery of those that are chosen. Film strips are loaded
   as they come into sight. */

const page = readData("data");
const size = 24;  // records on a page of the gallery
const badges = { ok: "ok", unfinished: "open", failed: "bad" };
page.records.forEach((record, place) => { record.place = place; });
const filters = new Filters(page.charts, page.records, draw);
let chosen = [];
const viewer = new Viewer(find("#viewer"), page.per, {
  beside: (record, direction) => chosen[chosen.indexOf(record) + direction] ?? null,
  closed: (record) => {
    filters.set({ open: null }, false);
    articleOf(record)?.focus();
  },
});
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    watcher.unobserve(entry.target);
    fill(entry.target);
  }
}, { rootMargin: "600px" });

function articleOf(record) {
  return record && document.querySelector(`article[data-place="${record.place}"]`);
}

/** Bring charts, gallery and controls up to date with what is chosen. */
function draw() {
  chosen = filters.choose(page.records);
  const pages = Math.max(1, Math.ceil(chosen.length / size));
  filters.page = Math.min(filters.page, pages);
  drawCharts();
  const first = (filters.page - 1) * size;
  watcher.disconnect();
  const articles = chosen.slice(first, first + size).map(makeArticle);
  find("#records").replaceChildren(...articles);
  articles.forEach((article) => watcher.observe(article));
  const all = page.records.length;
  find("#chosen").textContent = filters.some ? `${number(chosen.length)} of ${count(all, "record")}` : count(all, "record");
  find("#range").textContent = chosen.length
    ? `${number(first + 1)} to ${number(Math.min(first + size, chosen.length))} of ${number(chosen.length)}`
    : "No record is like that.";
  find("#earlier").disabled = filters.page === 1;
  find("#later").disabled = filters.page === pages;
  toggle(find("#clear"), filters.some);
  if (document.activeElement !== find("#search")) find("#search").value = filters.words;
  find("#sort").value = filters.order;
  const open = filters.open === null ? null : page.records.find((record) => record.id === filters.open);
  if (open && viewer.record !== open) viewer.open(open);
  const absent = filters.open !== null && !open;
  toggle(find("#absent"), absent);
  const shown = `is not among the ${count(all, "record")} shown here; mira-batch report RUN --all shows all of the run.`;
  if (absent) find("#absent").textContent = `${filters.open} ${shown}`;
}

function drawCharts() {
  for (const chart of page.charts) {
    const bins = filters.fillBins(page.records, chart);
    const values = bins.map((records) => (chart.of ? meanOf(records, chart.of) : records.length));
    const most = chart.of ? 1 : Math.max(...values, 1);
    const picked = filters.picked.get(chart.name);
    document.querySelectorAll(`#chart-${chart.name} button`).forEach((button, place) => {
      button.setAttribute("aria-pressed", picked.has(place));
      const bar = find(".now", button);
      if (!filters.some) bar.setAttribute(bar.dataset.side, bar.dataset.all);
      else bar.setAttribute(bar.dataset.side, (100 * (values[place] ?? 0)) / most);
      if (bar.dataset.side === "height") bar.setAttribute("y", 100 - Number(bar.getAttribute("height")));
      const span = find(".span", button);
      if (span) span.style.display = filters.some ? "none" : "";
      find("b", button).textContent = filters.some ? sayBin(bins[place], values[place], chart) : button.dataset.count;
    });
  }
}

/** The mean score of records that have one; null of none. */
function meanOf(records, name) {
  const scores = records.map((record) => record.scores[name]).filter((score) => score != null);
  return scores.length ? scores.reduce((sum, score) => sum + score, 0) / scores.length : null;
}

function sayBin(records, value, chart) {
  if (!chart.of) return number(value);
  return value === null ? "–" : `${value.toFixed(2)} · ${number(records.length)}`;
}

function makeArticle(record) {
  const facts = [count(record.steps, "edit")];
  if (record.score != null) facts.push(`score ${record.score.toFixed(2)}`);
  if (record.seconds >= 0.05) facts.push(clock(record.seconds));
  if (record.cost) facts.push(dollars(record.cost));
  if (record.shift >= 1) facts.push(`moved ${record.shift.toFixed(1)} px`);
  if (record.delta_e >= 1) facts.push(`ΔE ${record.delta_e.toFixed(1)}`);
  const about = make("div", { class: "about" },
    make("h3", {}, make("bdi", {}, nameOf(record)), make("span", { class: `badge ${badges[record.status]}` }, record.status)),
    make("p", { class: "ask", dir: "auto" }, record.ask),
    record.status !== "failed" && make("p", { class: "quiet" }, "ended by ", make("b", {}, record.outcome)),
    make("p", { class: "quiet facts-line" }, facts.join(" · ")));
  const strip = make("div", { class: "strip" });
  if (record.status === "failed") {
    strip.append(make("p", { class: "message" }, make("b", {}, record.outcome), make("span", {}, record.message ?? "")));
  }
  return make("article", { tabindex: -1, "data-place": record.place }, about, strip);
}

/** Load the film strip of an article that comes into sight. */
async function fill(article) {
  const record = page.records[article.dataset.place];
  try {
    const strip = await loadStrip(record.place, page.per);
    find(".strip", article).prepend(makeStrip(strip, (entry) => openRecord(record, entry)));
    if (strip.size) find(".facts-line", article).append(` · ${number(strip.size[0])} × ${number(strip.size[1])} px`);
    const last = makeThought("last thought", strip.last);
    if (last) find(".about", article).append(last);
    find(".about", article).append(...(strip.verdicts ?? []).map(makeVerdict));
    if (strip.credit) find(".strip", article).append(makeCredit(strip.credit));
  } catch (error) {
    find(".strip", article).prepend(make("p", { class: "quiet" }, error.message));
  }
}

function openRecord(record, entry = null) {
  filters.set({ open: record.id }, false);
  viewer.open(record, entry);
}

/** Focus the record after (1) or before (-1) the focused one; where that is out of sight, the nearest. */
function goToRecord(direction) {
  const articles = [...document.querySelectorAll("article")];
  const focused = document.activeElement?.closest("article");
  const isInSight = (box) => box.bottom > 0 && box.top < window.innerHeight;
  let next;
  if (focused && isInSight(focused.getBoundingClientRect())) next = articles[articles.indexOf(focused) + direction];
  else if (direction > 0) next = articles.find((each) => each.getBoundingClientRect().top >= 0);
  else next = articles.findLast((each) => each.getBoundingClientRect().top < 0);
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "start" });
}

function turn(direction) {
  const button = find(direction > 0 ? "#later" : "#earlier");
  if (button.disabled) return;
  filters.set({ page: filters.page + direction });
  find("#gallery").scrollIntoView({ block: "start" });
}

function listen() {
  for (const chart of page.charts) {
    document.querySelectorAll(`#chart-${chart.name} button`).forEach((button, place) => {
      button.disabled = false;
      button.addEventListener("click", () => filters.toggle(chart, place));
    });
  }
  for (const [name, { title, needs }] of Object.entries(orders)) {
    if (needs && !page.records.some((record) => record[needs])) continue;
    find("#sort").append(make("option", { value: name }, title));
  }
  find("#search").addEventListener("input", () => filters.set({ words: find("#search").value.trim() }));
  find("#sort").addEventListener("change", () => filters.set({ order: find("#sort").value }));
  find("#clear").addEventListener("click", () => { find("#search").value = ""; filters.clear(); });
  find("#earlier").addEventListener("click", () => turn(-1));
  find("#later").addEventListener("click", () => turn(1));
  hearKeys(() => {
    if (viewer.root.open) return viewer.keys;
    const focused = document.activeElement?.closest("article");
    const found = { j: () => goToRecord(1), k: () => goToRecord(-1), n: () => turn(1), p: () => turn(-1) };
    found["/"] = () => find("#search").focus();
    if (focused) found.Enter = () => openRecord(page.records[focused.dataset.place]);
    return found;
  });
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
}

listen();
draw();
