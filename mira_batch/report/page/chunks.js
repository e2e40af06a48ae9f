/* Pictures come in chunks: they lie in the page where it is small, else in script files beside it, because a
   page opened from a disk may load scripts and nothing else. */

const chunks = (() => {
  const place = readData("chunks");
  const most = 160;  // chunks kept; older ones are loaded again when they are wanted
  const found = new Map();
  const asked = new Map();

  /* What each script file calls. */
  window.miraChunk = (name, value) => asked.get(name)?.(value);

  function fetchFile(name) {
    return new Promise((resolve, reject) => {
      const script = make("script", { src: `${place}${name}.js` });
      asked.set(name, resolve);
      script.addEventListener("error", () => reject(new Error(`${place}${name}.js is not beside this page`)));
      script.addEventListener("load", () => script.remove());
      document.head.append(script);
    }).finally(() => asked.delete(name));
  }

  /** A chunk by its name, as a promise; null where there is none of that name in the page. */
  function load(name) {
    if (typeof place !== "string") return Promise.resolve(place[name] ?? null);
    if (!found.has(name)) {
      const loading = fetchFile(name);
      loading.catch(() => found.delete(name));
      found.set(name, loading);
      if (found.size > most) found.delete(found.keys().next().value);
    }
    return found.get(name);
  }

  return { load };
})();

/** The film strip of the record at a place, of `per` to a chunk. */
async function loadStrip(place, per) {
  const strips = await chunks.load(`strips-${Math.floor(place / per)}`);
  return strips[place % per];
}

/** Original and result of a record: with all pixels where the page has them, else as in its film strip. */
async function loadPair(place, per) {
  const strip = await loadStrip(place, per);
  const whole = await chunks.load(`whole-${place}`).catch(() => null);
  const entries = strip.entries;
  const before = entries[0];
  const after = entries.findLast((entry) => entry.result) ?? entries.at(-1);
  return [whole?.[0] ?? before.picture ?? before.missing, whole?.[1] ?? after.picture ?? after.missing ?? "not shown"];
}
