/* A record's film strip: the original, each step with what was asked, thought and judged, and the result. */

/** The film strip as a list. `pick` is called with an entry's picture when somebody wants to see it large. */
function makeStrip(strip, pick) {
  const list = make("ol", { class: strip.entries.length > 4 ? "trajectory long" : "trajectory" });
  list.style.setProperty("--ratio", strip.ratio);
  list.append(...strip.entries.map((entry) => makeEntry(entry, strip.ratio, pick)));
  return list;
}

function makeEntry(entry, ratio, pick) {
  const kind = `entry${entry.result ? " result" : ""}${entry.undone ? " undone" : ""}`;
  const item = make("li", { class: kind }, entry.words ? makeWords(entry) : makeView(entry, ratio, pick));
  const label = make("p", {}, make("b", {}, entry.label));
  if (entry.score != null) label.append(make("span", { class: "quiet" }, ` score ${entry.score.toFixed(2)}`));
  if (entry.undone) label.append(make("span", { class: "quiet" }, " rejected by the judge"));
  item.append(label);
  if (entry.caption) item.append(make("p", { class: "caption", dir: "auto" }, entry.caption));
  const thought = makeThought("thought", entry.thought);
  if (thought) item.append(thought);
  return item;
}

function makeView(entry, ratio, pick) {
  const view = make("div", { class: "view" });
  if (!entry.picture) {
    view.append(make("p", { class: "quiet" }, `Image ${entry.missing}`));
    return view;
  }
  const alt = entry.caption ? `${entry.label}: ${entry.caption}` : entry.label;
  const image = makeImage(entry.picture, alt);
  image.classList.add(entry.picture.width >= ratio * entry.picture.height ? "wide" : "tall");
  if (pick) {
    image.tabIndex = 0;
    image.role = "button";
    image.addEventListener("click", () => pick(entry));
    image.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      pick(entry);
    });
  }
  view.append(image);
  return view;
}

/** Steps of which there is no picture. */
function makeWords(entry) {
  const list = make("ol", { start: entry.first });
  list.append(...entry.words.map((text) => make("li", { dir: "auto" }, text)));
  const more = entry.more > 0 && make("p", { class: "quiet" }, `and ${number(entry.more)} more`);
  return make("div", { class: "words" }, list, more);
}

function makeThought(title, text) {
  if (!text) return null;
  return make("details", {}, make("summary", {}, title), make("p", { dir: "auto" }, text));
}
