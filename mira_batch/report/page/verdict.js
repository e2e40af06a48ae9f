/* What an evaluation says of a result: its score and axes, or why there is none; the judge's own words below. */

function makeVerdict(verdict) {
  const root = make("section", { class: "verdict" }, make("p", { class: "quiet" }, verdict.title));
  if (verdict.score != null) {
    root.append(make("p", {}, make("b", { class: "score" }, verdict.score.toFixed(2)), make("span", { class: "quiet" }, " of 0 to 1")));
    if (verdict.axes.length) root.append(makeAxes(verdict.axes));
  } else {
    const why = verdict.message ? `: ${verdict.message}` : "";
    root.append(make("p", { class: verdict.state === "judge failed" ? "why" : "quiet", dir: "auto" }, verdict.state, why));
  }
  const answers = [verdict.reason, ...(verdict.raw ?? [])].filter(Boolean);
  if (answers.length) root.append(makeAnswers(verdict));
  return root;
}

function makeAxes(axes) {
  const list = make("dl", { class: "axes" });
  for (const [name, value, low, high] of axes) {
    const scale = `${Number(low.toFixed(4))} to ${Number(high.toFixed(4))}`;
    list.append(make("dt", {}, name), make("dd", {}, String(Number(value.toFixed(3)))), make("dd", { class: "quiet" }, scale));
  }
  return list;
}

/** Why the judge scored so, and its answers as they came. */
function makeAnswers(verdict) {
  const raw = (verdict.raw ?? []).map((text) => make("p", { class: "answer", dir: "auto" }, text));
  if (verdict.more) raw.push(make("p", { class: "quiet" }, `and ${count(verdict.more, "more answer")}`));
  return make("details", {}, make("summary", {}, "judge's words"),
    verdict.reason && make("p", { dir: "auto" }, verdict.reason), ...raw);
}
