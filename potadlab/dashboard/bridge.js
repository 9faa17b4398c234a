// The page's end of the wire.  Frames are written into the arrays of Bokeh's sources in place, so
// that nothing echoes back to the kernel; `shown` is said after the browser has painted.
// Uses two half-public things of BokehJS: Document.get_model_by_id and source.change.emit.  Where
// they fail, `ready` says so and the kernel takes Bokeh's own way.

const PATIENCE_MS = 20000; // for Bokeh to put its figures up
const HOVER_MS = 40; // at most this often
const HOVER_LOST_MS = 1500; // then the answer will not come
const PIECE_BYTES = 1 << 20; // of a file that goes to the kernel
const FILES_MAX = 2; // a trace, and the memory before it
const WHEEL_STEP = 60; // a notch of a mouse is 100 or so; touch pads send many small ones
const WHEEL_NOTCH = 100; // and a busy page hears of several notches at once
const RESIZE_REST_MS = 300; // then a window is no longer pulled larger
const WHEEL_REST_MS = 300; // then a movement of the wheel is over

const documents = () => (window.Bokeh && window.Bokeh.documents) || [];

function find(id) {
  return documents().map((document) => document.get_model_by_id(id)).filter((model) => model);
}

const bytes = (view) => new Uint8Array(view.buffer || view, view.byteOffset || 0, view.byteLength);

function write(part, buffer) {
  for (const source of find(part.id)) {
    if (part.field === "image") {
      source.data.image[0].set(bytes(buffer));
    } else {
      source.data[part.field][0] = part.value;
    }
    source.change.emit();
  }
}

const painted = () =>
  new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

const lightTheme = () => document.body.dataset.jpThemeLight !== "false";

async function greet(model) {
  const targets = model.get("targets");
  const deadline = Date.now() + PATIENCE_MS;
  while (targets.some((id) => find(id).length === 0) && Date.now() < deadline) {
    await new Promise((done) => setTimeout(done, 50));
    // newer figures: another greeting is on its way; the same may come twice, in another list
    if (String(model.get("targets")) !== String(targets)) return;
  }
  const missing = targets.filter((id) => find(id).length === 0).length;
  model.send({ type: "ready", targets, missing, light: lightTheme() });
  if (model.get("linked")) sendLink(model);
}

function sendLink(model) {
  // The link by which this page was opened, once.  The address no longer has it: JupyterLab has
  // written another there; and after a reload people want to be where they were.
  const [opened] = performance.getEntriesByType("navigation");
  if (window.potadlab.followed || opened?.type !== "navigate") return;
  window.potadlab.followed = true;
  const query = new URL(opened.name).search;
  if (/[?&]potadlab=/.test(query)) model.send({ type: "link", query });
}

async function writeLink(model, query) {
  // Only the page knows its address; no token goes into it.
  const url = `${location.origin}${location.pathname}?${query}`;
  const copied = await (navigator.clipboard?.writeText(url) ?? Promise.reject()).then(
    () => true, () => false); // prettier-ignore
  model.send({ type: "address", url, copied });
}

class Tip {
  // What is under the pointer, beside the pointer.
  constructor() {
    this.box = document.createElement("div");
    this.box.className = "potadlab-tip";
    this.box.style.cssText =
      "position:fixed; z-index:10000; display:none; pointer-events:none; max-width:340px;" +
      "padding:4px 8px; border-radius:3px; font:12px/1.4 system-ui,sans-serif; white-space:pre-wrap;" +
      "overflow-wrap:anywhere; background:#222; color:#fff; box-shadow:0 1px 4px #0008";
    document.body.append(this.box);
    this.x = this.y = 0;
  }
  tell(lines) {
    this.box.textContent = lines.join("\n"); // text, never markup: names come from traces
    this.box.style.display = lines.length ? "block" : "none";
    this.follow(this.x, this.y);
  }
  follow(x, y) {
    [this.x, this.y] = [x, y];
    const { offsetWidth: width, offsetHeight: height } = this.box;
    const left = x + 14 + width > window.innerWidth ? x - 14 - width : x + 14;
    const top = y + 14 + height > window.innerHeight ? y - 14 - height : y + 14;
    this.box.style.left = `${Math.max(left, 0)}px`;
    this.box.style.top = `${Math.max(top, 0)}px`;
  }
}

class Pointer {
  // Events of the maps to the kernel: one hover at a time, wheel steps added up.
  constructor(model, tip) {
    [this.model, this.tip] = [model, tip];
    this.over = null; // the map under the pointer
    this.asked = 0;
    this.latest = null;
    [this.turned, this.turnedAt] = [0, 0];
  }
  hear(map, event) {
    const { x, y } = event;
    if (event.event_name === "mouseleave") return this.leave();
    if (event.event_name === "mouseenter") return void (this.over = map);
    if (event.event_name === "mousemove") return this.hover({ map, x, y });
    this.tip.tell([]); // what was told is no longer under the pointer
    const shift = Boolean(event.modifiers?.shift);
    const delta = event.event_name === "wheel" ? this.turn(event.delta) : 0;
    if (event.event_name === "wheel" && delta === 0) return;
    this.model.send({ type: "pointer", what: event.event_name, map, x, y, delta, shift });
  }
  turn(delta) {
    // how many steps the wheel has turned: above 0 closer, below 0 wider
    if (performance.now() - this.turnedAt > WHEEL_REST_MS) this.turned = 0;
    this.turnedAt = performance.now();
    this.turned += delta;
    if (Math.abs(this.turned) < WHEEL_STEP) return 0;
    const notches = Math.max(1, Math.round(Math.abs(this.turned) / WHEEL_NOTCH));
    const steps = Math.sign(this.turned) * notches;
    this.turned = 0;
    return steps;
  }
  leave() {
    this.over = this.latest = null;
    this.tip.tell([]);
  }
  hover(where) {
    this.over = where.map;
    this.latest = where;
    if (performance.now() - this.asked > (this.busy ? HOVER_LOST_MS : HOVER_MS)) this.ask();
  }
  ask() {
    [this.busy, this.asked] = [true, performance.now()];
    this.model.send({ type: "pointer", what: "hover", ...this.latest });
    this.latest = null;
  }
  told(lines) {
    this.busy = false;
    if (!this.over) return;
    this.tip.tell(lines);
    if (this.latest) setTimeout(() => this.latest && !this.busy && this.ask(), HOVER_MS);
  }
}

const TYPING = "input, textarea, select, [contenteditable=true]";
const PRESSED = "button, [role=tab], summary, [type=checkbox]"; // by space
const MOVED = "[role=tab], [role=slider]"; // by arrows, Home and End

class Keyboard {
  // Keys for the dashboard that was clicked or focused last, before JupyterLab takes them for its
  // cells; none while someone types, nor those that the focused control itself answers to.
  constructor(model) {
    [this.model, this.root, this.active] = [model, null, false];
    this.touch = (event) => (this.active = this.holds(event.composedPath()));
    this.press = (event) => this.hear(event);
    window.addEventListener("pointerdown", this.touch, true);
    window.addEventListener("focusin", this.touch, true);
    window.addEventListener("keydown", this.press, true);
  }
  holds(path) {
    return this.root !== null && path.includes(this.root);
  }
  hear(event) {
    const { key } = event;
    if (!this.active || event.ctrlKey || event.altKey || event.metaKey) return;
    if (!this.model.get("hot_keys").includes(key)) return;
    const on = event.composedPath()[0];
    if (on.closest?.(TYPING) && on.type !== "checkbox") return;
    // the slider of time keeps the ends that it began with, so they are jumped to from here
    const end = (key === "Home" || key === "End") && !on.closest?.(".potadlab-time");
    if (key === " " && on.closest?.(`${PRESSED}, ${MOVED}`)) return;
    if ((key.startsWith("Arrow") || end) && on.closest?.(MOVED)) return;
    event.preventDefault();
    event.stopPropagation();
    this.model.send({ type: "key", key, shift: event.shiftKey });
  }
  leave() {
    window.removeEventListener("pointerdown", this.touch, true);
    window.removeEventListener("focusin", this.touch, true);
    window.removeEventListener("keydown", this.press, true);
  }
}

function figuresOf(target) {
  // Views of the figures that stand in the document of a source.
  const found = [];
  const walk = (view) => {
    if (view.canvas_view) found.push(view);
    else for (const child of view.children()) walk(child);
  };
  for (const root of Bokeh.index) if (root.model.document?.get_model_by_id(target)) walk(root);
  return found.filter((view) => view.el.getBoundingClientRect().width > 0);
}

class Size {
  // Tells the kernel how large the maps are on the screen, when they are first shown and when that
  // changes: pictures are made for it.
  constructor(model) {
    [this.model, this.told, this.later] = [model, "", 0];
  }
  watch(root) {
    this.leave(); // of the figures where they stood before
    this.observer = new ResizeObserver(() => {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.tell(), RESIZE_REST_MS);
    });
    this.observer.observe(root);
  }
  tell() {
    const [target] = this.model.get("targets");
    const map = target && figuresOf(target).find((view) => view.model.name?.startsWith("map "));
    if (!map) return;
    const { width, height } = map.frame.bbox;
    const size = { width, height, page_height: window.innerHeight };
    if (JSON.stringify(size) === this.told) return;
    this.told = JSON.stringify(size);
    this.model.send({ type: "size", ...size });
  }
  leave() {
    clearTimeout(this.later);
    this.observer?.disconnect();
  }
}

const LINE_PX = 17; // of the words of a picture
const WORDS_FONT = "12px system-ui, sans-serif";
const SVG_NAMES = "http://www.w3.org/2000/svg";

function wordsOf(caption, keys, width, above) {
  // What a picture is of, over it, and what its colours are, below: where each word stands.
  const ink = document.createElement("canvas").getContext("2d");
  ink.font = WORDS_FONT;
  const words = caption.map((text, i) => ({ text, x: 4, y: LINE_PX * (i + 1) - 4 }));
  let [x, y] = [4, above + LINE_PX];
  for (const [colour, text] of keys) {
    const wide = 16 + ink.measureText(text).width + 14;
    if (x + wide > width && x > 4) [x, y] = [4, y + LINE_PX];
    words.push({ colour, text, x, y });
    x += wide;
  }
  return { words, height: y + 6 };
}

const inks = () => (lightTheme() ? ["#ffffff", "#222222"] : ["#111111", "#dddddd"]);

async function asPng(shown, words, width, height) {
  const canvas = document.createElement("canvas");
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const ink = canvas.getContext("2d");
  const [ground, letters] = inks();
  ink.fillStyle = ground;
  ink.fillRect(0, 0, canvas.width, canvas.height);
  for (const { view, x, y, wide, high } of shown) {
    ink.drawImage(view.export("png", true).canvas, x * scale, y * scale, wide * scale, high * scale);
  }
  ink.scale(scale, scale);
  ink.font = WORDS_FONT;
  for (const { colour, text, x, y } of words) {
    if (colour) {
      ink.fillStyle = colour;
      ink.fillRect(x, y - 10, 11, 11);
    }
    ink.fillStyle = letters;
    ink.fillText(text, colour ? x + 16 : x, y);
  }
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function asShape(name, attributes, text) {
  // Text is set as such: names come from traces.
  const shape = document.createElementNS(SVG_NAMES, name);
  for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
  shape.textContent = text ?? "";
  return new XMLSerializer().serializeToString(shape);
}

async function asSvg(shown, words, width, height) {
  const [ground, fill] = inks();
  const parts = [asShape("rect", { width, height, fill: ground })];
  for (const { colour, text, x, y } of words) {
    const box = { x, y: y - 10, width: 11, height: 11, fill: colour };
    if (colour) parts.push(asShape("rect", box));
    const style = `font: ${WORDS_FONT}`;
    parts.push(asShape("text", { x: colour ? x + 16 : x, y, fill, style }, text));
  }
  for (const { view, x, y } of shown) {
    const text = await (await view.export("svg", false).to_blob()).text();
    parts.push(`<g transform="translate(${x} ${y})">${text.replace(/^<\?xml[^>]*>/, "")}</g>`);
  }
  const size = `width="${width}" height="${height}"`;
  const head = `<svg xmlns="${SVG_NAMES}" ${size}>`;
  return new Blob([head, ...parts, "</svg>"], { type: "image/svg+xml" });
}

async function draw(model, { form, caption, keys }) {
  // All figures as one picture, each by Bokeh's own export, with what it is of; its bytes go to
  // the kernel.
  try {
    const places = figuresOf(model.get("targets")[0]).map((view) => {
      const { x, y, width, height } = view.el.getBoundingClientRect();
      return { view, x, y, wide: width, high: height };
    });
    const [left, top] = [Math.min(...places.map((at) => at.x)), Math.min(...places.map((at) => at.y))];
    const above = LINE_PX * caption.length;
    const shown = places.map((at) => ({ ...at, x: at.x - left, y: at.y - top + above }));
    const width = Math.ceil(Math.max(...shown.map((at) => at.x + at.wide)));
    const below = Math.ceil(Math.max(...shown.map((at) => at.y + at.high)));
    const { words, height } = wordsOf(caption, keys, width, below);
    const blob = await (form === "png" ? asPng : asSvg)(shown, words, width, height);
    model.send({ type: "picture", form, error: "" }, undefined, [await blob.arrayBuffer()]);
  } catch (error) {
    model.send({ type: "picture", form, error: String(error) });
  }
}

class Upload {
  // Files that were picked or dropped go to the kernel in pieces, each when it asks for it; the
  // memory before a trace goes first.
  constructor(model) {
    [this.model, this.files] = [model, []];
  }
  give(files) {
    const before = (file) => (file.name.endsWith(".before.parquet") ? 0 : 1);
    this.files = [...files].slice(0, FILES_MAX).sort((a, b) => before(a) - before(b));
    void this.piece(0);
  }
  next() {
    this.files.shift();
    void this.piece(0);
  }
  async piece(offset) {
    const file = this.files[0];
    if (!file) return;
    const { name, size } = file;
    const piece = await file.slice(offset, offset + PIECE_BYTES).arrayBuffer().catch(() => null);
    this.model.send({ type: "upload", name, size, offset }, undefined, [piece ?? new ArrayBuffer(0)]);
  }
  pick(accept) {
    const input = Object.assign(document.createElement("input"), { type: "file", accept });
    input.multiple = true;
    input.addEventListener("change", () => this.give(input.files));
    input.click();
  }
  over(root) {
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    const show = (on) => root.classList.toggle("potadlab-drop", on);
    for (const [name, on] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
      root.addEventListener(name, (event) => {
        if (!holdsFiles(event)) return;
        event.preventDefault(); // a browser would leave the page for the file
        event.stopPropagation();
        show(on);
        if (name === "drop") this.give(event.dataTransfer.files);
      });
    }
  }
}

async function receive({ model, pointer, upload, size }, message, buffers) {
  message.parts?.forEach((part, i) => write(part, buffers[i]));
  if (message.type === "frame") {
    const came = performance.now();
    await painted();
    model.send({ type: "shown", number: message.number, page_ms: performance.now() - came });
    size.tell();
  } else if (message.type === "tip") {
    pointer.told(message.lines);
  } else if (message.type === "picture") {
    await draw(model, message);
  } else if (message.type === "address") {
    await writeLink(model, message.query);
  } else if (message.type === "pick") {
    upload.pick(message.accept);
  } else if (message.type === "more") {
    await upload.piece(message.offset);
  } else if (message.type === "next") {
    upload.next();
  }
}

function initialize({ model }) {
  const tip = new Tip();
  const pointer = new Pointer(model, tip);
  const keyboard = new Keyboard(model);
  const upload = new Upload(model);
  const size = new Size(model);
  const hub = (window.potadlab = window.potadlab || {});
  hub[model.get("key")] = (map, event) => pointer.hear(map, event);
  Object.assign(hub[model.get("key")], { keyboard, upload, size });

  const move = (event) => tip.follow(event.clientX, event.clientY);
  window.addEventListener("pointermove", move, { passive: true });
  const theme = new MutationObserver(() => model.send({ type: "theme", light: lightTheme() }));
  theme.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });

  model.on("msg:custom", (message, buffers) => {
    void receive({ model, pointer, upload, size }, message, buffers);
  });
  model.on("change:targets", () => void greet(model));
  void greet(model);
  return () => {
    window.removeEventListener("pointermove", move);
    theme.disconnect();
    keyboard.leave();
    size.leave();
    tip.box.remove();
    delete hub[model.get("key")];
  };
}

class Sight {
  // Tells the kernel whether anybody can see the figures; else a trace that plays is not painted.
  // Once at the beginning: a page that was left has said that it is hidden.
  constructor(model, figures) {
    [this.model, this.seen, this.near] = [model, null, true];
    this.look = () => this.tell();
    document.addEventListener("visibilitychange", this.look);
    this.observer = new IntersectionObserver((found) => {
      this.near = found[found.length - 1].isIntersecting;
      this.tell();
    });
    this.observer.observe(figures);
    this.tell();
  }
  tell() {
    const seen = this.near && document.visibilityState === "visible";
    if (seen !== this.seen) this.model.send({ type: "seen", seen });
    this.seen = seen;
  }
  leave() {
    document.removeEventListener("visibilitychange", this.look);
    this.observer.disconnect();
  }
}

const CONTROLS = "button, input, select, textarea, [role=slider], [role=progressbar]";

class Names {
  // A name for each control, for those who hear the page: the widgets give a title, or nothing.
  constructor(root) {
    this.root = root;
    this.observer = new MutationObserver(() => this.give());
    const changes = { childList: true, subtree: true, attributes: true, attributeFilter: ["title"] };
    this.observer.observe(root, changes);
    this.give();
  }
  give() {
    for (const message of this.root.querySelectorAll(".potadlab-message")) {
      if (message.role !== "status") message.role = "status"; // told when it changes
    }
    for (const icon of this.root.querySelectorAll("button i.fa")) {
      if (!icon.ariaHidden) icon.ariaHidden = "true"; // its glyph would be read as a letter
    }
    for (const control of this.root.querySelectorAll(CONTROLS)) {
      const name = this.of(control);
      if (name && control.ariaLabel !== name) control.ariaLabel = name;
    }
  }
  of(control) {
    if (control.tagName === "BUTTON") return control.innerText.trim() ? "" : control.title;
    if ([...(control.labels ?? [])].some((label) => label.innerText.trim())) return "";
    const widget = control.closest(".jupyter-widgets");
    const label = widget?.querySelector(".widget-label, .jupyter-widget-label")?.innerText.trim();
    return label || control.title || widget?.title || control.placeholder || "";
  }
  leave() {
    this.observer.disconnect();
  }
}

function render({ model, el }) {
  // nothing of its own to show; but here it is known where the dashboard stands
  const watchers = [];
  requestAnimationFrame(() => {
    const root = el.closest(".potadlab");
    if (!root) return;
    const mine = window.potadlab?.[model.get("key")];
    if (!mine) return; // closed meanwhile
    watchers.push(new Names(root));
    const { keyboard, upload, size } = mine;
    keyboard.root = root;
    if (model.get("linked")) upload.over(root);
    const figures = root.querySelector(".potadlab-figures");
    if (!figures) return;
    watchers.push(new Sight(model, figures));
    size.watch(figures);
    figures.tabIndex = 0;
    figures.setAttribute("role", "group");
    figures.setAttribute("aria-label", model.get("words"));
  });
  return () => watchers.forEach((watcher) => watcher.leave());
}

export default { initialize, render };
