/* One record, large: its original against whichever picture of its film strip is picked. */

class Viewer {
  constructor(root, per, hooks) {
    this.root = root;
    this.per = per;
    this.hooks = hooks;  // closed(), beside(record, direction)
    this.stage = new Stage(find(".stage", root));
    this.record = null;
    this.shown = 0;
    this.left = "original";  // or "earlier": what the pictures are held against, where there are both
    root.addEventListener("close", () => {
      const record = this.record;
      this.record = null;
      hooks.closed(record);
    });
    root.addEventListener("click", (event) => {
      if (event.target === root) root.close();  // the backdrop
    });
    for (const [name, action] of Object.entries({
      close: () => root.close(), earlier: () => this.step(-1), later: () => this.step(1),
      above: () => this.goTo(-1), below: () => this.goTo(1), left: () => this.swap(),
    })) find(`.${name}`, root).addEventListener("click", action);
  }

  /** Open a record at one of its entries; without one at its result. */
  async open(record, entry = null) {
    this.record = record;
    find(".name", this.root).textContent = nameOf(record);
    find(".ask", this.root).textContent = record.ask;
    if (!this.root.open) this.root.showModal();
    const [strip, pair] = await Promise.all([loadStrip(record.place, this.per), loadPair(record.place, this.per)]);
    if (this.record !== record) return;
    this.entries = strip.entries.filter((each) => each.picture);
    this.pair = pair;
    const list = makeStrip(strip, (picked) => this.show(this.entries.indexOf(picked)));
    find(".strip", this.root).replaceChildren(list);
    const result = this.entries.findLastIndex((each) => each.result);
    this.show(entry ? this.entries.indexOf(entry) : result >= 0 ? result : this.entries.length - 1);
  }

  /** Show one of the record's pictures against its original; one that there isn't changes nothing. */
  show(place) {
    const entry = this.entries[place];
    if (!entry) {
      if (this.entries.length === 0) this.stage.clear();
      return;
    }
    this.shown = place;
    const earlier = this.entries.find((each) => each.earlier);
    const before = earlier && this.left === "earlier" ? earlier.picture : this.pair[0];
    this.stage.show([before, entry.result ? this.pair[1] : entry.picture], nameOf(this.record));
    this.stage.tags[0].textContent = earlier && this.left === "earlier" ? "earlier" : "before";
    toggle(find(".left", this.root), Boolean(earlier));
    find(".label", this.root).textContent = entry.label;
    find(".count", this.root).textContent = `${place + 1} of ${this.entries.length}`;
    find(".caption", this.root).textContent = entry.caption ?? "";
    find(".earlier", this.root).disabled = place === 0;
    find(".later", this.root).disabled = place === this.entries.length - 1;
    for (const item of this.root.querySelectorAll(".strip .entry")) item.classList.remove("current");
    const images = [...this.root.querySelectorAll(".strip .view img")];
    images[place]?.closest(".entry").classList.add("current");
  }

  step(direction) {
    this.show(this.shown + direction);
  }

  /** Hold the pictures against the original, or against the result of the earlier run. */
  swap() {
    this.left = this.left === "original" ? "earlier" : "original";
    this.show(this.shown);
  }

  goTo(direction) {
    const next = this.hooks.beside(this.record, direction);
    if (next) this.open(next);
  }

  get keys() {
    return {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), j: () => this.goTo(1), k: () => this.goTo(-1),
      Space: () => this.stage.flip(), z: () => this.stage.toggleZoom(),
      o: () => this.swap(),
    };
  }
}
