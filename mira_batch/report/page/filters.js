/* What is chosen: bars of the charts, words searched for, order and page. It lives in the address behind the #,
   so that a link shows what its sender saw. Bars of one chart add up, those of several narrow down. */

const orders = {
  problems: { title: "problems first", by: (record) => ["failed", "unfinished", "ok"].indexOf(record.status) },
  run: { title: "as in the run", by: () => 0 },
  score: { title: "lowest score first", by: (record) => record.score ?? 2, needs: "score" },
  edits: { title: "most edits first", by: (record) => -record.steps },
  slow: { title: "slowest first", by: (record) => -record.seconds },
  moved: { title: "most moved first", by: (record) => -(record.shift ?? -1), needs: "shift" },
  recoloured: { title: "most recoloured first", by: (record) => -(record.delta_e ?? -1), needs: "delta_e" },
  dear: { title: "dearest first", by: (record) => -record.cost, needs: "cost" },
};

/** What a record has under the name of a chart: of evaluations' scores, or of its own. */
function valueOf(record, name) {
  return Object.hasOwn(record.scores ?? {}, name) ? record.scores[name] : record[name];
}

/** Orders by the scores of evaluations: "worst" and "best" of the first, "worst-2" of the second. */
function addScoreOrders(charts) {
  const scored = charts.filter((chart) => /^overall(-\d+)?$/.test(chart.name));
  for (const { name } of scored) {
    const key = name.slice("overall".length);
    const of = scored.length > 1 ? ` (${key ? key.slice(1) : 1})` : "";
    orders[`worst${key}`] = { title: `worst score first${of}`, by: (record) => record.scores?.[name] ?? 2 };
    orders[`best${key}`] = { title: `best score first${of}`, by: (record) => -(record.scores?.[name] ?? -1) };
  }
}

/** The bin of a chart that a record is in, as a place among those shown; -1 for none. */
function binOf(chart, record) {
  if (chart.name === "stops") return record.status === "failed" ? -1 : chart.labels.indexOf(record.outcome);
  if (chart.name === "errors") return record.status === "failed" ? chart.labels.indexOf(record.outcome) : -1;
  const value = valueOf(record, chart.name);
  if (chart.edges.length === 0) return chart.labels.indexOf(value);
  if (value == null) return -1;
  return chart.edges.filter((edge) => edge <= value).length - chart.first;
}

class Filters {
  constructor(charts, records, changed) {
    addScoreOrders(charts);
    this.charts = charts;
    this.changed = changed;
    this.picked = new Map(charts.map((chart) => [chart.name, new Set()]));
    this.words = "";
    this.order = "problems";
    this.page = 1;
    this.open = null;
    for (const record of records) {
      record.bins = charts.map((chart) => binOf(chart, record));
      record.text = `${nameOf(record)} ${record.ask} ${record.message ?? ""} ${record.outcome}`.toLowerCase();
    }
    this.read();
    window.addEventListener("hashchange", () => {
      if (location.hash.slice(1) === this.toString()) return;
      this.read();
      this.changed();
    });
  }

  /** Take over what the address says; what it says wrong is left out. */
  read() {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const chart of this.charts) {
      const places = said.getAll(chart.name).map((label) => chart.labels.indexOf(label)).filter((k) => k >= 0);
      this.picked.set(chart.name, new Set(places));
    }
    this.words = said.get("q") ?? "";
    this.order = Object.hasOwn(orders, said.get("sort")) ? said.get("sort") : "problems";
    this.page = Math.max(1, Number.parseInt(said.get("page") ?? "1", 10) || 1);
    this.open = said.get("record");
  }

  toString() {
    const said = new URLSearchParams();
    for (const chart of this.charts) {
      for (const place of this.picked.get(chart.name)) said.append(chart.name, chart.labels[place]);
    }
    if (this.words) said.set("q", this.words);
    if (this.order !== "problems") said.set("sort", this.order);
    if (this.page > 1) said.set("page", this.page);
    if (this.open !== null) said.set("record", this.open);
    return said.toString();
  }

  /** Change something, and bring address and page up to date. Whatever chooses records goes to the first page. */
  set(changes, redraw = true) {
    if (!("page" in changes) && !("open" in changes)) this.page = 1;
    Object.assign(this, changes);
    const said = this.toString();
    history.replaceState(null, "", said ? `#${said}` : location.pathname + location.search);
    if (redraw) this.changed();
  }

  toggle(chart, place) {
    const picked = new Set(this.picked.get(chart.name));
    if (!picked.delete(place)) picked.add(place);
    this.picked.set(chart.name, picked);
    this.set({});
  }

  clear() {
    for (const chart of this.charts) this.picked.set(chart.name, new Set());
    this.set({ words: "" });
  }

  get some() {
    return this.words !== "" || [...this.picked.values()].some((places) => places.size > 0);
  }

  /** Whether a record is chosen; `but` leaves one chart out, for that chart's own bars. */
  admits(record, words, but = null) {
    return words.every((word) => record.text.includes(word)) && this.charts.every((chart, k) => {
      const places = this.picked.get(chart.name);
      return chart === but || places.size === 0 || places.has(record.bins[k]);
    });
  }

  choose(records) {
    const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
    const by = orders[this.order].by;
    return records.filter((record) => this.admits(record, words)).sort((a, b) => by(a) - by(b) || a.place - b.place);
  }

  /** Of each bin of a chart the records that it would show. */
  fillBins(records, chart) {
    const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
    const bins = chart.labels.map(() => []);
    const k = this.charts.indexOf(chart);
    for (const record of records) {
      if (record.bins[k] >= 0 && this.admits(record, words, chart)) bins[record.bins[k]].push(record);
    }
    return bins;
  }
}
