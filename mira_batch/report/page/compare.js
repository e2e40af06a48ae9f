/* A comparison: the records that changed most, as film strips, each to be looked at large: original, A's result
   and B's result, two at a time. */

const page = readData("data");
page.records.forEach((record, place) => { record.place = place; });

/** One record, large. */
class Pair {
  constructor(root) {
    this.root = root;
    this.stage = new Stage(find(".stage", root));
    this.record = null;
    this.sides = "12";
    this.pictures = [];
    root.addEventListener("close", () => articleOf(this.record)?.focus());
    root.addEventListener("click", (event) => {
      if (event.target === root) root.close();  // the backdrop
    });
    find(".close", root).addEventListener("click", () => root.close());
    find(".above", root).addEventListener("click", () => this.goTo(-1));
    find(".below", root).addEventListener("click", () => this.goTo(1));
    for (const button of root.querySelectorAll(".show")) {
      button.addEventListener("click", () => this.show(button.dataset.sides));
    }
  }

  /** Open a record with two of its pictures: 0 is the original, 1 A's result, 2 B's. */
  async open(record, sides = this.sides) {
    this.record = record;
    find(".name", this.root).textContent = record.id;
    find(".ask", this.root).textContent = record.ask;
    if (!this.root.open) this.root.showModal();
    const [strip, whole] = await Promise.all([loadStrip(record.place, 1), chunks.load(`whole-${record.place}`)]);
    if (this.record !== record) return;
    this.pictures = strip.entries.map((entry, k) => whole?.[k] ?? entry.picture ?? entry.missing);
    this.show(sides);
  }

  show(sides) {
    this.sides = sides;
    const names = ["original", `A ${this.record.a.toFixed(2)}`, `B ${this.record.b.toFixed(2)}`];
    const [left, right] = [...sides].map(Number);
    this.stage.show([this.pictures[left], this.pictures[right]], this.record.id);
    this.stage.tags[0].textContent = names[left];
    this.stage.tags[1].textContent = names[right];
    for (const button of this.root.querySelectorAll(".show")) {
      button.setAttribute("aria-pressed", button.dataset.sides === sides);
    }
  }

  goTo(direction) {
    const next = page.records[this.record.place + direction];
    if (next) this.open(next);
  }

  get keys() {
    return {
      1: () => this.show("12"), 2: () => this.show("01"), 3: () => this.show("02"),
      j: () => this.goTo(1), k: () => this.goTo(-1), ArrowLeft: () => this.goTo(-1), ArrowRight: () => this.goTo(1),
      Space: () => this.stage.flip(), z: () => this.stage.toggleZoom(),
    };
  }
}

const viewer = new Pair(find("#viewer"));

function articleOf(record) {
  return record && document.querySelector(`article[data-place="${record.place}"]`);
}

function makeArticle(record) {
  const change = record.b - record.a;
  const signed = `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)}`;
  const about = make("div", { class: "about" },
    make("h3", {}, make("bdi", {}, record.id), make("span", { class: `badge ${change < 0 ? "bad" : "ok"}` }, signed)),
    make("p", { class: "ask", dir: "auto" }, record.ask),
    record.group && make("p", { class: "quiet" }, "group ", make("b", {}, record.group)),
    record.same && make("p", { class: "quiet" }, "Both results have the same pixels: this difference is the judge's."),
    makeSaid(record.said ?? []), makeLinks(record.links ?? []));
  return make("article", { tabindex: -1, "data-place": record.place }, about, make("div", { class: "strip" }));
}

/** Why the judge scored A, and B, so. */
function makeSaid(said) {
  if (!said.some(Boolean)) return null;
  const lines = said.map((text, k) => text && make("p", { dir: "auto" }, make("b", {}, k ? "B: " : "A: "), text));
  return make("details", {}, make("summary", {}, "judge's words"), ...lines);
}

function makeLinks(links) {
  const found = links.map((link, k) => link && make("a", { href: link }, k ? "in B's report" : "in A's report"));
  return found.some(Boolean) ? make("p", { class: "links" }, ...found) : null;
}

async function fill(article) {
  const record = page.records[article.dataset.place];
  const strip = await loadStrip(record.place, 1);
  const sides = { Original: "02", A: "01", B: "02" };
  find(".strip", article).append(makeStrip(strip, (entry) => viewer.open(record, sides[entry.label])));
}

function draw() {
  const shown = { worse: page.records.slice(0, page.worse), better: page.records.slice(page.worse) };
  for (const [kind, records] of Object.entries(shown)) {
    if (records.length) find(`#${kind}`).replaceChildren(...records.map(makeArticle));
  }
  document.querySelectorAll("article").forEach(fill);
  if (find("#scatter") && page.cells.length) new Scatter(find("#scatter"), page.cells, find("#scatter-said"));
  hearKeys(() => (viewer.root.open ? viewer.keys : {}));
}

draw();
