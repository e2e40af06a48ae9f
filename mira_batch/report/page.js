/* What the report can do beyond being read: j and k go from record to record, and a picture is enlarged in
   place, where the arrow keys step through those of its record. Without scripts only this is missing. */
"use strict";
{
  const records = [...document.querySelectorAll("article")];
  const viewer = document.querySelector("#viewer");
  const [previous, next, close] = viewer.querySelectorAll("button");
  let pictures = [];
  let shown = 0;

  /** Focus the record after (1) or before (-1) the focused one; where that is out of sight, the nearest. */
  function goToRecord(direction) {
    const focused = document.activeElement?.closest("article");
    let record;
    if (focused && isInSight(focused)) {
      record = records[records.indexOf(focused) + direction];
    } else if (direction > 0) {
      record = records.find((each) => each.getBoundingClientRect().top >= 0);
    } else {
      record = records.findLast((each) => each.getBoundingClientRect().top < 0);
    }
    record?.focus({ preventScroll: true });
    record?.scrollIntoView({ block: "start" });
  }

  function isInSight(element) {
    const { top, bottom } = element.getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
  }

  /** Enlarge a picture of a record. */
  function openViewer(picture) {
    const trajectory = picture.closest(".trajectory");
    pictures = [...trajectory.querySelectorAll(".view img")];
    viewer.style.setProperty("--ratio", trajectory.style.getPropertyValue("--ratio"));
    showPicture(pictures.indexOf(picture));
    viewer.showModal();
    close.focus();
  }

  /** Show one of the record's pictures in the viewer; one that does not exist changes nothing. */
  function showPicture(index) {
    const picture = pictures[index];
    if (!picture) return;
    shown = index;
    const entry = picture.closest(".entry");
    const { src, alt, className } = picture;
    viewer.querySelector(".view").replaceChildren(Object.assign(new Image(), { src, alt, className }));
    viewer.querySelector("b").textContent = entry.querySelector("b").textContent;
    viewer.querySelector(".count").textContent = `${index + 1} of ${pictures.length}`;
    viewer.querySelector(".caption").textContent = entry.querySelector(".caption")?.textContent ?? "";
    previous.disabled = index === 0;
    next.disabled = index === pictures.length - 1;
  }

  /** The picture that Enter enlarges: the focused one; of a focused record its result, or its first. */
  function pictureOf(element) {
    if (element.matches("article .view img")) return element;
    if (!element.matches("article")) return null;
    return element.querySelector(".result img") ?? element.querySelector(".view img");
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) return;
    const actions = viewer.open
      ? { ArrowLeft: () => showPicture(shown - 1), ArrowRight: () => showPicture(shown + 1) }
      : { j: () => goToRecord(1), k: () => goToRecord(-1) };
    if (pictureOf(event.target)) actions.Enter = () => openViewer(pictureOf(event.target));
    if (event.target.role === "button") actions[" "] = actions.Enter;
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  for (const record of records) {
    record.tabIndex = -1;
    for (const picture of record.querySelectorAll(".view img")) {
      picture.tabIndex = 0;
      picture.role = "button";
      picture.addEventListener("click", () => openViewer(picture));
    }
  }
  previous.addEventListener("click", () => showPicture(shown - 1));
  next.addEventListener("click", () => showPicture(shown + 1));
  close.addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer) viewer.close();  // the backdrop
  });
  document.addEventListener("keydown", onKey);
  document.querySelector(".keys").hidden = records.length === 0;
}
