/* The queue of a review: which results are listed, in which order, a page of them at a time. The list stays as
   it is while decisions are made, and changes when it is asked to: nothing moves under a person's hands. */

class Queue {
  constructor(records, decisions, per, open) {
    this.records = records;
    this.decisions = decisions;
    this.per = per;
    this.open = open;
    this.size = 24;  // results on a page
    this.list = [];
    this.first = 0;  // of the page that is shown
    this.grid = find("#queue");
    this.cells = new Map();
    this.fillStrata();
    for (const name of ["state", "stratum", "order"]) {
      find(`#${name}`).addEventListener("change", () => this.refresh());
    }
    find("#search").addEventListener("input", () => this.refresh());
    find("#earlier").addEventListener("click", () => this.turnTo(this.first - this.size));
    find("#later").addEventListener("click", () => this.turnTo(this.first + this.size));
    this.refresh(false);
  }

  fillStrata() {
    const names = [...new Set(this.records.map((record) => record.stratum).filter((name) => name != null))].sort();
    toggle(find("#stratum").parentElement, names.length > 1);
    find("#stratum").append(...names.map((name) => make("option", { value: name }, name)));
    const judged = this.records.some((record) => record.close != null);
    for (const option of find("#order").querySelectorAll(".judged")) option.disabled = !judged;
  }

  /** Make the list anew, by what is chosen above it. */
  refresh(move = true) {
    const [state, stratum, order] = ["state", "stratum", "order"].map((name) => find(`#${name}`).value);
    const words = find("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
    this.list = this.records.filter((record) => {
      const is = this.decisions.stateOf(record) || "undecided";
      if (state !== "all" && state !== is) return false;
      if (stratum && record.stratum !== stratum) return false;
      const text = `${nameOf(record)} ${record.ask}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const by = { close: (record) => record.close ?? 2, score: (record) => record.score ?? 2 }[order];
    this.list.sort((a, b) => (by ? by(a) - by(b) : 0) || a.rank - b.rank);
    this.first = 0;
    this.show();
    if (move) this.open(this.list[0] ?? null);
  }

  turnTo(first) {
    if (first < 0 || first >= this.list.length) return;
    this.first = first;
    this.show();
    this.open(this.list[first]);
  }

  /** The results that are on the page before the person's eyes. */
  get shown() {
    return this.list.slice(this.first, this.first + this.size);
  }

  /** The result after (1) or before (-1) this one; null at the end. */
  beside(record, direction) {
    return this.list[this.list.indexOf(record) + direction] ?? null;
  }

  /** The next one that is undecided, from this one on and then from the beginning. */
  nextUndecided(record) {
    const at = this.list.indexOf(record);
    const after = [...this.list.slice(at + 1), ...this.list.slice(0, Math.max(0, at))];
    return after.find((each) => !this.decisions.stateOf(each)) ?? null;
  }

  show() {
    this.cells = new Map(this.shown.map((record) => [record, this.makeCell(record)]));
    this.grid.replaceChildren(...this.cells.values());
    const last = Math.min(this.first + this.size, this.list.length);
    find("#range").textContent = this.list.length
      ? `${number(this.first + 1)} to ${number(last)} of ${number(this.list.length)}`
      : "No result is like that.";
    find("#earlier").disabled = this.first === 0;
    find("#later").disabled = last >= this.list.length;
    this.mark();
  }

  makeCell(record) {
    const place = make("span", { class: "thumb" });
    const cell = make("button", { type: "button", on: { click: () => this.open(record) } },
      place, make("bdi", {}, nameOf(record)));
    loadStrip(record.place, this.per).then(({ entries }) => {
      const made = entries.findLast((entry) => entry.result) ?? entries.at(-1);
      if (made.picture) place.append(makeImage(made.picture, ""));
    }, () => place.append("not found"));
    return make("li", {}, cell);
  }

  /** Scroll the list, and only the list, so that a cell is seen. */
  bringIn(cell) {
    const [box, inner] = [this.grid.getBoundingClientRect(), cell.getBoundingClientRect()];
    if (inner.top < box.top) this.grid.scrollTop -= box.top - inner.top;
    if (inner.bottom > box.bottom) this.grid.scrollTop += inner.bottom - box.bottom;
  }

  /** Show in the list what is decided, and which result is open. */
  mark(current = this.current) {
    if (current && !this.shown.includes(current) && this.list.includes(current)) {
      this.first = Math.floor(this.list.indexOf(current) / this.size) * this.size;
      this.current = current;
      this.show();
      return;
    }
    this.current = current;
    for (const [record, cell] of this.cells) {
      const state = this.decisions.stateOf(record);
      cell.className = state;
      const button = find("button", cell);
      button.setAttribute("aria-label", `${nameOf(record)}, ${{ approve: "approved", reject: "rejected" }[state] ?? "undecided"}`);
      if (record === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      if (record === current) this.bringIn(cell);
    }
  }
}
