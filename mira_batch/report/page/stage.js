/* The stage: original and result over one another, with a seam between them that is dragged; all of it to be
   seen at once, or one to one, where dragging moves the pictures. */

class Stage {
  constructor(root) {
    this.pane = make("div", { class: "pane" });
    this.seam = make("div", { class: "seam", "aria-hidden": "true" });
    this.tags = [make("span", { class: "tag before" }, "before"), make("span", { class: "tag after" }, "after")];
    this.slider = make("input", {
      type: "range", min: 0, max: 100, value: 50, class: "slider",
      "aria-label": "How much of the original is shown, from the left",
      on: { input: () => this.setSeam(Number(this.slider.value)) },
    });
    this.facts = make("p", { class: "quiet stage-facts" });
    this.zoomer = make("button", { type: "button", class: "zoom", on: { click: () => this.toggleZoom() } });
    this.images = [null, null];
    this.pictures = [null, null];
    this.position = 50;
    this.zoomed = false;
    this.pan = [0, 0];
    root.append(this.pane, make("div", { class: "stage-foot" }, this.facts, this.slider, this.zoomer));
    this.listen();
    new ResizeObserver(() => this.lay()).observe(this.pane);
  }

  listen() {
    let last = null;
    this.pane.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      last = [event.clientX, event.clientY];
      this.pane.setPointerCapture(event.pointerId);
      if (!this.zoomed) this.seamTo(event.clientX);
      event.preventDefault();
    });
    this.pane.addEventListener("pointermove", (event) => {
      if (!last) return;
      if (this.zoomed) {
        this.pan = [this.pan[0] + event.clientX - last[0], this.pan[1] + event.clientY - last[1]];
        last = [event.clientX, event.clientY];
        this.lay();
      } else this.seamTo(event.clientX);
    });
    for (const end of ["pointerup", "pointercancel"]) this.pane.addEventListener(end, () => { last = null; });
    this.pane.addEventListener("dblclick", (event) => this.toggleZoom(event));
  }

  /** Show two pictures; a text in the place of one says why there is none. */
  show(pair, name) {
    this.pictures = pair;
    this.images = pair.map((picture, side) => {
      if (typeof picture === "string") return make("p", { class: "quiet missing" }, `Image ${picture}`);
      return makeImage(picture, `${name}, ${side ? "after" : "before"}`);
    });
    this.pan = [0, 0];
    this.pane.replaceChildren(...this.images, this.seam, ...this.tags);
    this.lay();
  }

  clear() {
    this.images = this.pictures = [null, null];
    this.pane.replaceChildren();
    this.facts.textContent = "";
  }

  seamTo(clientX) {
    const { left, width } = this.pane.getBoundingClientRect();
    this.setSeam(Math.min(100, Math.max(0, (100 * (clientX - left)) / width)));
  }

  /** Left of `position`, in percent of the pane, is the original; right of it the result. */
  setSeam(position) {
    this.position = position;
    this.slider.value = position;
    this.lay();
  }

  /** All of the original, or if that is shown, all of the result. */
  flip() {
    this.setSeam(this.position === 100 ? 0 : 100);
    announce(this.position === 100 ? "before" : "after");
  }

  /** One to one, or all of it. What is under the pointer stays there. */
  toggleZoom(event) {
    const box = this.pane.getBoundingClientRect();
    const at = event ? [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2] : [0, 0];
    const picture = this.pictures.find((each) => each?.uri);
    const ratio = picture ? this.scaleOne() / this.scaleAll(picture) : 1;
    this.zoomed = !this.zoomed;
    this.pan = this.zoomed ? at.map((offset) => offset - offset * ratio) : [0, 0];
    this.lay();
  }

  /** A pixel of the picture on a pixel of the screen. */
  scaleOne() {
    return 1 / window.devicePixelRatio;
  }

  /** So that it is seen whole; small pictures grow, within reason. */
  scaleAll(picture) {
    return Math.min(this.pane.clientWidth / picture.width, this.pane.clientHeight / picture.height, 4);
  }

  lay() {
    const { clientWidth: width, clientHeight: height } = this.pane;
    const cut = (width * this.position) / 100;
    this.images.forEach((image, side) => {
      const picture = this.pictures[side];
      if (!image) return;
      const scale = !picture.uri ? 1 : this.zoomed ? this.scaleOne() : this.scaleAll(picture);
      const [wide, high] = picture.uri ? [picture.width * scale, picture.height * scale] : [width, height];
      const left = (width - wide) / 2 + (picture.uri ? this.pan[0] : 0);
      const top = (height - high) / 2 + (picture.uri ? this.pan[1] : 0);
      const inside = Math.min(wide, Math.max(0, cut - left));
      const clip = side ? `inset(0 0 0 ${inside}px)` : `inset(0 ${wide - inside}px 0 0)`;
      Object.assign(image.style, {
        width: `${wide}px`, height: `${high}px`, left: `${left}px`, top: `${top}px`, clipPath: clip,
        imageRendering: scale > 2 ? "pixelated" : "auto",
      });
    });
    this.seam.style.left = `${cut}px`;
    toggle(this.seam, this.position > 0 && this.position < 100);
    toggle(this.tags[0], this.position > 12);
    toggle(this.tags[1], this.position < 88);
    this.pane.classList.toggle("zoomed", this.zoomed);
    this.zoomer.setAttribute("aria-pressed", this.zoomed);
    this.zoomer.replaceChildren("1:1 ", make("kbd", {}, "z"));
    this.facts.textContent = this.describe();
  }

  describe() {
    const picture = this.pictures[1]?.uri ? this.pictures[1] : this.pictures[0];
    if (!picture?.uri) return "";
    const size = `${number(picture.width)} × ${number(picture.height)} px`;
    const scale = this.zoomed ? 1 : this.scaleAll(picture) * window.devicePixelRatio;
    const share = `${Math.round(100 * scale)} %`;
    return `${size}${picture.exact ? ", exact" : ", small or lossy copy"} · ${share}`;
  }
}
