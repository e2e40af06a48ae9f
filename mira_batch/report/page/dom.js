/* What every page needs: making elements, writing figures, hearing keys. Text only ever becomes text here. */

/** An element with attributes and children. `on` holds listeners; a child that is a string becomes text. */
function make(tag, attributes = {}, ...children) {
  const { on = {}, ...plain } = attributes;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(plain)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

function find(selector, within = document) {
  return within.querySelector(selector);
}

/** What the page was given under this id. */
function readData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Show or hide an element. */
function toggle(element, shown) {
  element.hidden = !shown;
}

function number(value) {
  return value.toLocaleString("en");
}

/** "1 record", "1,204 records". */
function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A time: "6.0 s", "2:05 min", "1:30 h". */
function clock(seconds) {
  if (seconds < 120) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  const two = (value) => String(value).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${two(whole % 60)} min`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)} h`;
}

/** An amount with the digits that it needs, so that little never looks like nothing. */
function dollars(value) {
  return `$${value >= 1 ? value.toFixed(2) : value >= 0.01 ? value.toFixed(4) : value.toPrecision(2)}`;
}

/** A record's name as it may be shown: what nobody could see of its id is written out. */
function nameOf(record) {
  return record.name ?? record.id;
}

/** Say something to those who can't see the page. */
function announce(text) {
  find("#said").textContent = text;
}

/** Hear keys, but for those that a field or a control needs itself.
    `actions` gives, for each key, what to do; it is asked anew each time, since that depends on what is open. */
function hearKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input:not([type=range]), select, textarea");
    if (typing) return;
    const pressed = event.key === " " ? "Space" : event.key;
    const own = event.target.closest("button, summary, a, [role=button]");
    if (own && (pressed === "Space" || pressed === "Enter")) return;
    if (event.target.type === "range" && pressed.startsWith("Arrow")) return;
    const action = actions()[pressed];
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || pressed.startsWith("Arrow")) action(event);
  });
}

/** A picture of the page's data as an image; `alt` says what it shows. */
function makeImage(picture, alt) {
  return make("img", {
    src: picture.uri, width: picture.width, height: picture.height, alt,
    class: picture.clear ? "transparent" : null, draggable: "false",
  });
}
