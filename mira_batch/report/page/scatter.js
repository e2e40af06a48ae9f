/* A scatter plot that says what its marks are: under the pointer, or under the arrow keys. */

class Scatter {
  /** `cells` are the marks in the order of the circles: A's score, B's, how many records, names of some. */
  constructor(root, cells, said) {
    this.root = root;
    this.cells = cells;
    this.said = said;
    this.circles = [...root.querySelectorAll("circle")];
    this.current = -1;
    root.addEventListener("pointermove", (event) => this.show(this.findNear(event)));
    root.addEventListener("pointerdown", (event) => this.show(this.findNear(event)));
    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      this.show((this.current + step + cells.length) % cells.length);
    });
  }

  /** The mark that is nearest to the pointer, within reach; -1 for none. */
  findNear(event) {
    let nearest = -1;
    let least = 24;
    this.circles.forEach((circle, place) => {
      const box = circle.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
      const distance = Math.max(0, Math.hypot(x, y) - box.width / 2);
      if (distance < least) [nearest, least] = [place, distance];
    });
    return nearest;
  }

  show(place) {
    if (place < 0 || place === this.current) return;
    this.circles[this.current]?.classList.remove("current");
    this.current = place;
    this.circles[place].classList.add("current");
    const [a, b, records, names] = this.cells[place];
    const more = records - names.length;
    const which = `${names.join(", ")}${more > 0 ? ` and ${number(more)} more` : ""}`;
    this.said.textContent = `A ${a.toFixed(2)}, B ${b.toFixed(2)}: ${count(records, "record")} (${which})`;
  }
}
