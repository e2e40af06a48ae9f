/* What each step of a record was worth: the curve of the state's value, and pictures of the step that ruined it. */

const drawing = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
const curve = { step: 56, height: 84, margin: 8, left: 20 };

function makeCredit(credit) {
  const title = credit.ruin === null ? "No step can be named that ruined it" : `Step ${credit.ruin + 1} ruined it`;
  const root = make("section", { class: "credit" }, make("h4", {}, title));
  root.append(drawValues(credit), make("p", { class: "quiet" }, sayCredit(credit)), makeSteps(credit));
  if (credit.pictures.entries.length) root.append(makeStrip(credit.pictures, null));
  return root;
}

function sayCredit(credit) {
  const end = credit.end === null ? "" : ` It ended with ${credit.end.toFixed(2)}.`;
  return `What the policy reaches from each state, as a mean score with its standard error.${end}`;
}

/** The curve of value over states; one that is not known leaves a gap. */
function drawValues(credit) {
  const { step, height, margin, left } = curve;
  const width = left + step * (credit.values.length - 1) + margin;
  const x = (place) => left + step * place;
  const y = (value) => margin + (1 - Math.min(Math.max(value, 0), 1)) * (height - 2 * margin);
  const said = credit.values.map(([value]) => (value === null ? "unknown" : value.toFixed(2))).join(", ");
  const svg = drawShape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `values: ${said}` });
  for (const value of [0, 1]) {
    const label = drawShape("text", { x: 0, y: y(value) + 4 });
    label.textContent = value;
    svg.append(drawShape("line", { class: "edge", x1: left - 6, x2: width, y1: y(value), y2: y(value) }), label);
  }
  credit.values.forEach(([value, error], place) => {
    if (value === null) return;
    const next = credit.values[place + 1]?.[0] ?? null;
    if (next !== null) {
      const kind = place === credit.ruin ? "ruin" : "value";
      svg.append(drawShape("line", { class: kind, x1: x(place), x2: x(place + 1), y1: y(value), y2: y(next) }));
    }
    if (error) svg.append(drawShape("line", { class: "error", x1: x(place), x2: x(place), y1: y(value - error), y2: y(value + error) }));
    svg.append(drawShape("circle", { class: "value", cx: x(place), cy: y(value), r: 3 }));
  });
  return svg;
}

function drawShape(tag, attributes) {
  const element = document.createElementNS(drawing, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Each step with its advantage, and what it did for the end. */
function makeSteps(credit) {
  const list = make("ol", { class: "worth" });
  credit.steps.forEach((each, place) => {
    const effect = each.effect === null ? null : `did ${signed(each.effect)} for the end`;
    list.append(make("li", { class: place === credit.ruin ? "ruin" : null },
      make("span", { dir: "auto" }, each.edit || "STOP"),
      make("b", {}, each.advantage === null ? "unknown" : signed(each.advantage)),
      effect && make("span", { class: "quiet" }, effect)));
  });
  return list;
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}
