/* What a person has decided on this page. It is saved in the browser after each step, by run and by what is on
   the page, and can be undone step by step. */

class Decisions {
  constructor(run, records) {
    this.run = run;
    this.records = records;
    this.key = `mira_batch review ${run.id} ${run.digest}`;
    this.by = "";
    this.said = new Map();  // record id -> { decision, reason, at }
    this.notes = new Map();  // record id -> text
    this.history = [];  // of each step what was said before: [[record id, decision or null], …]
    this.saved = true;
    this.load();
  }

  load() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) ?? "null");
      this.by = kept?.by ?? localStorage.getItem("mira_batch reviewer") ?? "";
      this.said = new Map(kept?.said ?? []);
      this.notes = new Map(kept?.notes ?? []);
      this.history = kept?.history ?? [];
    } catch {
      this.saved = false;  // a browser may keep nothing for such a page; the page says so
    }
  }

  save() {
    const all = { by: this.by, said: [...this.said], notes: [...this.notes], history: this.history };
    try {
      localStorage.setItem(this.key, JSON.stringify(all));
      localStorage.setItem("mira_batch reviewer", this.by);
      this.saved = true;
    } catch {
      this.saved = false;
    }
  }

  of(record) {
    return this.said.get(record.id) ?? null;
  }

  /** "approve", "reject", or "" of what is undecided. */
  stateOf(record) {
    return this.of(record)?.decision ?? "";
  }

  /** Decide about records, as one step that can be undone. */
  decide(records, decision, reason = "") {
    const at = new Date().toISOString();
    this.history.push(records.map((record) => [record.id, this.of(record)]));
    for (const record of records) this.said.set(record.id, { decision, reason, at });
    this.save();
  }

  /** Take the last step back; returns the ids of the records it was about, or null if there is none. */
  undo() {
    const step = this.history.pop();
    if (!step) return null;
    for (const [id, before] of step) {
      if (before) this.said.set(id, before);
      else this.said.delete(id);
    }
    this.save();
    return step.map(([id]) => id);
  }

  setNote(record, text) {
    if (text) this.notes.set(record.id, text.slice(0, 4000));
    else this.notes.delete(record.id);
    this.save();
  }

  setBy(text) {
    this.by = text.trim().slice(0, 200);
    this.save();
  }

  count(decision) {
    let found = 0;
    for (const each of this.said.values()) found += each.decision === decision;
    return found;
  }

  /** The decisions as JSON lines, in the order in which the records stand. */
  toLines() {
    const lines = this.records.filter((record) => this.of(record)).map((record) => {
      const { decision, reason, at } = this.of(record);
      return JSON.stringify({
        record_id: record.id, work_id: record.work, result_digest: record.digest, decision, reason,
        note: this.notes.get(record.id) ?? "", by: this.by, at,
      });
    });
    return lines.map((line) => `${line}\n`).join("");
  }

  /** Hand them to the browser as a file. */
  download() {
    const plain = (text) => text.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^-+|-+$/g, "");
    const day = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "");
    const name = ["decisions", plain(this.run.id), plain(this.by), day].filter(Boolean).join("-");
    const address = URL.createObjectURL(new Blob([this.toLines()], { type: "application/jsonl" }));
    make("a", { href: address, download: `${name}.jsonl` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
}
