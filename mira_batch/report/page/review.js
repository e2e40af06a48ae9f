/* The review page: one result at a time, decided by keys or buttons. `a` approves and `r` rejects whatever was
   said before, so that a key pressed twice never turns a decision round. */

const page = readData("data");
const per = page.per;
page.records.forEach((record, place) => { record.place = place; });
const decisions = new Decisions(page.run, [...page.records].sort((a, b) => a.rank - b.rank));
const stage = new Stage(find("#stage"));
let current = null;
const queue = new Queue(page.records, decisions, per, openRecord);

/** Show a record; arrows and clicks come here, and decide nothing. */
function openRecord(record) {
  saveNote();
  current = record;
  queue.mark(record);
  toggle(find("#about"), record !== null);
  toggle(find("#empty"), record === null);
  if (record === null) stage.clear();
  else fillRecord(record);
  showState();
}

function fillRecord(record) {
  find("#name").textContent = nameOf(record);
  find("#ask").textContent = record.ask;
  const facts = [record.status === "ok" ? "" : record.status, record.outcome, count(record.steps, "edit")];
  if (record.score != null) facts.push(`score ${record.score.toFixed(2)}`);
  if (record.stratum != null) facts.push(record.stratum);
  find("#record-facts").textContent = facts.filter(Boolean).join(" · ");
  find("#note").value = decisions.notes.get(record.id) ?? "";
  find("#strip").replaceChildren();
  showPictures(record).catch((error) => {
    if (current === record) stage.show([error.message, error.message].map((text) => `is missing: ${text}`), "");
  });
}

async function showPictures(record) {
  const [pair, strip] = await Promise.all([loadPair(record.place, per), loadStrip(record.place, per)]);
  if (current !== record) return;  // somebody was faster than the disk
  stage.show(pair, nameOf(record));
  find("#strip").replaceChildren(makeStrip(strip, null));
  for (const beside of [queue.nextUndecided(record), queue.beside(record, 1)]) {
    if (beside) loadPair(beside.place, per).catch(() => {});  // so that it is there when it is wanted
  }
}

function move(direction) {
  const next = current && queue.beside(current, direction);
  if (next) openRecord(next);
}

function approve() {
  if (!current) return;
  decisions.decide([current], "approve");
  announce(`${nameOf(current)} approved`);
  goOn();
}

/** Reject it. It stays open until a reason is named, or something else is done. */
function reject() {
  if (!current) return;
  if (decisions.stateOf(current) !== "reject") decisions.decide([current], "reject", "other");
  announce(`${nameOf(current)} rejected; 1 to 6 name the reason`);
  showState();
}

/** Name what is wrong with a rejected result. Of any other it does nothing: a slip must not reject. */
function giveReason(reason) {
  if (!current || decisions.stateOf(current) !== "reject") return;
  decisions.decide([current], "reject", reason);
  announce(`${nameOf(current)} rejected: ${reason}`);
  goOn();
}

function goOn() {
  document.activeElement?.blur();
  const next = queue.nextUndecided(current);
  if (next) openRecord(next);
  else showState();
}

function undo() {
  const ids = decisions.undo();
  if (!ids) return;
  const record = page.records.find((each) => each.id === ids[0]);
  announce(ids.length === 1 ? `undone: ${nameOf(record)}` : `undone: ${number(ids.length)} results`);
  if (queue.list.includes(record)) openRecord(record);
  else showState();
}

/** Ask before all undecided results on the page before one's eyes are approved, and say how many they are. */
function askForAll() {
  const all = queue.shown.filter((record) => !decisions.stateOf(record));
  const rest = queue.shown.length - all.length;
  if (!all.length) return;
  find("#all-text").textContent = `Approve the ${count(all.length, "result")} listed here that `
    + `${all.length === 1 ? "is" : "are"} undecided?`
    + (rest ? ` ${number(rest)} decided already ${rest === 1 ? "stays" : "stay"} as ${rest === 1 ? "it is" : "they are"}.` : "");
  find("#all-yes").textContent = `Approve ${number(all.length)}`;
  find("#all-yes").onclick = () => {
    find("#all").close();
    decisions.decide(all, "approve");
    announce(`${count(all.length, "result")} approved`);
    showState();
  };
  find("#all").showModal();
}

function saveNote() {
  if (!current) return;
  const text = find("#note").value.trim();
  if (text !== (decisions.notes.get(current.id) ?? "")) decisions.setNote(current, text);
}

/** Bring all that depends on decisions up to date. */
function showState() {
  queue.mark(current);
  const [approved, rejected, all] = [decisions.count("approve"), decisions.count("reject"), page.records.length];
  const { text, bound } = describeConfidence(approved, rejected, page.population);
  find("#confidence").textContent = text;
  find("#confidence").dataset.bound = bound ?? "";
  find("#done").textContent = `${number(approved + rejected)} of ${number(all)} decided`;
  find("#bar-approved").style.width = `${(100 * approved) / all}%`;
  find("#bar-rejected").style.width = `${(100 * rejected) / all}%`;
  const undecided = queue.shown.filter((record) => !decisions.stateOf(record)).length;
  find("#approve-all").textContent = `Approve the ${number(undecided)} undecided listed here`;
  find("#approve-all").disabled = undecided === 0;
  find("#undo").disabled = decisions.history.length === 0;
  find("#download").disabled = approved + rejected === 0;
  find("#unsaved").hidden = decisions.saved;
  const said = current && decisions.of(current);
  find("#approve").setAttribute("aria-pressed", said?.decision === "approve");
  find("#reject").setAttribute("aria-pressed", said?.decision === "reject");
  toggle(find("#reasons"), said?.decision === "reject");
  for (const button of find("#reasons").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", said?.decision === "reject" && said.reason === button.value);
  }
}

function listen() {
  find("#reasons").append(...page.reasons.map((reason, place) => make("button",
    { type: "button", value: reason, on: { click: () => giveReason(reason) } },
    make("kbd", {}, `${place + 1}`), ` ${reason}`)));
  const clicks = {
    approve, reject, undo, "approve-all": askForAll, download: () => { saveNote(); decisions.download(); },
    "all-no": () => find("#all").close(), previous: () => move(-1), next: () => move(1),
  };
  for (const [id, action] of Object.entries(clicks)) find(`#${id}`).addEventListener("click", action);
  find("#note").addEventListener("input", saveNote);
  find("#note").addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.target.blur();
  });
  find("#by").value = decisions.by;
  find("#by").addEventListener("input", () => { decisions.setBy(find("#by").value); showState(); });
  hearKeys(() => {
    if (find("#all").open) return {};
    const reasons = page.reasons.map((reason, place) => [`${place + 1}`, () => giveReason(reason)]);
    return {
      a: approve, r: reject, u: undo, z: () => stage.toggleZoom(), Space: () => stage.flip(),
      n: () => find("#note").focus(), ArrowLeft: () => move(-1), ArrowRight: () => move(1),
      ArrowUp: () => move(-1), ArrowDown: () => move(1), ...Object.fromEntries(reasons),
    };
  });
}

listen();
openRecord(queue.list.find((record) => !decisions.stateOf(record)) ?? queue.list[0] ?? null);
