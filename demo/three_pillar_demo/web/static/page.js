"use strict";
// Fetches the current address once a second and merges the answer into the page, element by
// element. An element that stays is changed, not replaced, so no click, selection or focus is
// lost. The page works without this script, too: then a reload shows new data.
//
// Attributes that the templates set:
//   data-refresh    the element is merged with each answer
//   data-keep       the element keeps its state, because the visitor may be using it
//   data-full-load  the form is submitted by the browser, not by this script
//   data-hold       the element is not merged while the visitor is in it
//   data-content    a details element gets its content from this address when it is opened
//   data-filter     the form is submitted whenever one of its fields changes
//   data-draft      what is chosen in the form is kept for other pages; a new name is a new draft
//   data-paused     on the body: do not refresh
//   data-refresh-from  the address to fetch instead of the current one

const REFRESH_INTERVAL_MS = 1000;
const REFRESH_TIMEOUT_MS = 5000;
// A form may do something, so it gets more time before the visitor is told to repeat it.
const SUBMIT_TIMEOUT_MS = 15000;

// ---- Merging ------------------------------------------------------------------------------

function merge(current, fresh) {
  if (holdsStill(current, fresh)) return;
  if (current.isEqualNode(fresh)) return;
  if (current.nodeType !== Node.ELEMENT_NODE) {
    current.data = fresh.data;
    return;
  }
  if (current.hasAttribute("data-keep")) {
    // A slider must still reach the newest value.
    if (current.max) current.max = fresh.max;
    return;
  }
  mergeAttributes(current, fresh);
  mergeChildren(current, fresh);
}

function mergeAttributes(current, fresh) {
  for (const { name } of [...current.attributes]) {
    // "open" belongs to the visitor: it says which details are unfolded.
    if (!fresh.hasAttribute(name) && name !== "open") current.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
}

function childrenById(parent) {
  const children = [...parent.children].filter((child) => child.id);
  return new Map(children.map((child) => [child.id, child]));
}

function mergeChildren(current, fresh) {
  const freshById = childrenById(fresh);
  for (const child of [...current.children]) {
    if (child.id && !freshById.has(child.id)) child.remove();
  }
  const unusedById = childrenById(current);
  let position = current.firstChild;
  for (const freshChild of [...fresh.childNodes]) {
    const match = matchingChild(freshChild, position, unusedById);
    // An id that comes a second time is a second element, not the first one again.
    unusedById.delete(freshChild.id);
    if (match) merge(match, freshChild);
    if (match && match === position) {
      position = position.nextSibling;
    } else {
      current.insertBefore(match || document.importNode(freshChild, true), position);
    }
  }
  removeFrom(position);
}

function matchingChild(freshChild, position, unusedById) {
  if (freshChild.id) return unusedById.get(freshChild.id);
  const isAlike = position && !position.id && position.nodeName === freshChild.nodeName;
  return isAlike ? position : null;
}

function removeFrom(node) {
  while (node) {
    const next = node.nextSibling;
    // What this script has added is in no answer.
    if (!node.dataset || !("added" in node.dataset)) node.remove();
    node = next;
  }
}

// ---- Holding still ------------------------------------------------------------------------

// Nothing moves under the pointer, below the focus, or while something is open to be read, unless the
// visitor has asked for it. What was asked for is brought by the next answer, which may be that of a
// later refresh, if its own is late or lost.
let isCatchingUp = false;
// The list that gets the focus then, if the visitor has asked by keyboard.
let listToFocus = null;
// A click leaves the focus behind that no one sees, and that must not hold a list still.
const IN_USE = ":hover, :focus-visible, :has(:focus-visible)";

function isInUse(element) {
  const region = element.closest(".scroll") || element;
  const button = document.querySelector(`.new-items[data-list="${element.id}"]`);
  return (
    [region, button].some((part) => part && part.matches(IN_USE))
    || element.querySelector("details[open]") !== null
  );
}

// Says that the element is held, and how much has come if it is a list with a button for this.
function holdsStill(current, fresh) {
  if (!current.dataset || !("hold" in current.dataset)) return false;
  const isHeld = !isCatchingUp && isInUse(current);
  current.classList.toggle("held", isHeld && !current.isEqualNode(fresh));
  const button = document.querySelector(`.new-items[data-list="${current.id}"]`);
  if (button) {
    const items = [...fresh.querySelectorAll("li[id]:not(.drill-mark), tr[id]:not(.drill-mark)")];
    const count = items.filter((item) => !document.getElementById(item.id)).length;
    const number = count === items.length ? `${count} or more` : count;
    button.hidden = !isHeld || count === 0;
    button.textContent = `${number} new ${button.dataset.noun}${count === 1 ? "" : "s"}`;
  }
  return isHeld;
}

document.addEventListener("click", ({ target, detail }) => {
  if (!target.matches(".new-items")) return;
  // The button will be gone. If it was pressed by keyboard, the focus goes to what it has brought.
  listToFocus = detail === 0 ? document.getElementById(target.dataset.list) : null;
  refresh(location.href, true);
});

function focusNewItems() {
  const first = listToFocus && listToFocus.querySelector("summary, a");
  if (first) first.focus();
  listToFocus = null;
}

// ---- Refreshing ---------------------------------------------------------------------------

let pointerIsDown = false;
let newestRefresh = 0;
// The address whose answer was merged last. It differs from the current one until the answer to a
// form that changes the address has arrived.
let shownAddress = location.href;

// A finished request does not change any more. Then the status bar alone is fetched.
function refreshAddress() {
  const finished = document.querySelector("[data-refresh-from]");
  return finished && shownAddress === location.href ? finished.dataset.refreshFrom : location.href;
}

// An answer that is not the wanted page. The message says what came instead.
class AnswerError extends Error {}

// Returns the page at an address. A server or a proxy that hangs counts as one that fails.
async function fetchPage(address, timeoutMs, options = {}) {
  const response = await fetch(address, { ...options, signal: AbortSignal.timeout(timeoutMs) });
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!response.ok && !document.getElementById("invalid-request")) {
    const reason = fresh.querySelector("#invalid-request .sentence");
    throw new AnswerError(reason ? reason.textContent : `it answered ${response.status}`);
  }
  // What was not there, or was invalid, is there now.
  if (response.ok && document.getElementById("invalid-request")) location.reload();
  if (!fresh.getElementById("top")) throw new AnswerError("it answered with another page");
  return fresh;
}

function reasonOf(error) {
  if (error instanceof AnswerError) return error.message;
  return error.name === "TimeoutError" ? "it gave no answer in time" : "it cannot be reached";
}

async function refresh(
  address = refreshAddress(),
  isAction = false,
  pendingPage = fetchPage(address, REFRESH_TIMEOUT_MS),
) {
  if (isAction) isCatchingUp = true;
  newestRefresh += 1;
  const thisRefresh = newestRefresh;
  let failure = null;
  let fresh = null;
  try {
    fresh = await pendingPage;
  } catch (error) {
    failure = error;
  }
  // A later refresh has newer data.
  if (thisRefresh !== newestRefresh) return;
  showAge(failure);
  // A click that has begun must end on the element that it began on.
  if (fresh && (isCatchingUp || !pointerIsDown)) {
    mergePage(fresh);
    isCatchingUp = false;
    focusNewItems();
    if (address === location.href) shownAddress = address;
  }
}

// Says from when the figures are, and dims them, as long as there are no newer ones.
function showAge(failure) {
  const notice = document.getElementById("offline");
  document.body.classList.toggle("stale", failure !== null);
  notice.hidden = failure === null;
  if (failure === null) return;
  const { time } = document.getElementById("top").dataset;
  const text = `No new figures from the web UI: ${reasonOf(failure)}. Those below are of ${time}.`;
  // A screen reader reads the notice out when it changes.
  if (!notice.textContent.startsWith(text)) notice.textContent = `${text} Retrying every second.`;
}

function mergePage(fresh) {
  for (const freshPart of fresh.querySelectorAll("[data-refresh]")) {
    const part = document.getElementById(freshPart.id);
    if (part) merge(part, freshPart);
  }
  restoreDrafts();
  for (const slider of document.querySelectorAll(".slider:hover, .slider:focus-visible")) {
    showReadout(slider);
  }
}

function sleep(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

async function refreshForever() {
  for (;;) {
    await sleep(REFRESH_INTERVAL_MS);
    const isPaused = "paused" in document.body.dataset;
    if (!document.hidden && !isPaused) await refresh();
  }
}

for (const [eventName, isDown] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
  addEventListener(eventName, () => {
    pointerIsDown = isDown;
  });
}

// ---- Reading values off a chart -----------------------------------------------------------

function showReadout(slider) {
  const chart = slider.closest(".chart");
  const positions = JSON.parse(chart.dataset.positions);
  const texts = JSON.parse(chart.dataset.readouts);
  const index = Math.min(slider.value, positions.length - 1);
  chart.querySelector(".readout").textContent = texts[index];
  slider.setAttribute("aria-valuetext", texts[index]);
  const cursor = chart.querySelector(".cursor");
  cursor.setAttribute("x1", `${positions[index] / 10}%`);
  cursor.setAttribute("x2", `${positions[index] / 10}%`);
  chart.classList.add("reading");
}

function nearestIndex(positions, position) {
  let nearest = 0;
  positions.forEach((candidate, index) => {
    if (Math.abs(candidate - position) < Math.abs(positions[nearest] - position)) nearest = index;
  });
  return nearest;
}

function moveSliderToPointer(slider, area, event) {
  const positions = JSON.parse(slider.closest(".chart").dataset.positions);
  const fraction = (event.clientX - area.getBoundingClientRect().left) / area.clientWidth;
  // Positions are in thousandths of the width.
  slider.value = nearestIndex(positions, fraction * 1000);
}

document.addEventListener("pointermove", (event) => {
  const area = event.target.closest(".area");
  const slider = area && area.querySelector(".slider");
  const active = slider || document.activeElement;
  for (const chart of document.querySelectorAll(".reading")) {
    if (!chart.contains(active)) chart.classList.remove("reading");
  }
  if (slider) {
    moveSliderToPointer(slider, area, event);
    showReadout(slider);
  }
});

document.addEventListener("focusin", ({ target }) => {
  if (target.matches(".slider:focus-visible")) showReadout(target);
});

document.addEventListener("focusout", ({ target }) => {
  if (target.matches(".slider")) target.closest(".chart").classList.remove("reading");
});

// ---- Keyboard and forms -------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  // Tab reaches the newest dot of a chart, the first band of a minimap, or the first node of a
  // large graph; the arrow keys go on to the others.
  const before = "previousElementSibling";
  const after = "nextElementSibling";
  const siblings = { ArrowLeft: before, ArrowUp: before, ArrowRight: after, ArrowDown: after };
  const link = event.target.closest(".dot, .band, a.graph-node");
  let sibling = link && siblings[event.key] && link[siblings[event.key]];
  // What sends no spans is no link.
  while (sibling && sibling.matches("g.graph-node")) sibling = sibling[siblings[event.key]];
  if (sibling && sibling.matches(".dot, .band, a.graph-node")) {
    event.preventDefault();
    sibling.focus();
  }
});

// Esc leaves a field, and closes what is open: what the focus is in, or what was opened last.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const { target } = event;
  if (target.matches("input, select, textarea")) {
    event.preventDefault();
    target.blur();
    return;
  }
  const details = target.closest("details[open]") || lastOpened;
  if (details && details.open) {
    details.open = false;
    details.querySelector("summary").focus();
  }
});

let lastOpened = null;

// The event does not bubble, but it can be captured.
document.addEventListener("toggle", ({ target }) => {
  if (!target.open) return;
  lastOpened = target;
  if (target.dataset.content) loadContent(target);
}, true);

// Shows the page of a log record within the list.
async function loadContent(details) {
  const content = details.querySelector(".details");
  try {
    const fresh = await fetchPage(details.dataset.content, SUBMIT_TIMEOUT_MS);
    const parts = fresh.getElementById("content");
    if (parts) content.replaceChildren(...document.importNode(parts, true).childNodes);
    delete details.dataset.content;
  } catch (error) {
    // The link to the page remains.
    content.querySelectorAll(".problem").forEach((note) => note.remove());
    const note = document.createElement("p");
    note.className = "problem";
    note.textContent = `Not shown here: ${reasonOf(error)}.`;
    content.append(note);
  }
}

// Submits a form, and tells the visitor if that fails, also while the figures are old anyway.
async function submit(address, fields, name) {
  const notice = document.getElementById("not-done");
  notice.hidden = true;
  try {
    const fresh = await fetchPage(address, SUBMIT_TIMEOUT_MS, { method: "POST", body: fields });
    await refresh(address, true, Promise.resolve(fresh));
  } catch (error) {
    const time = new Date().toLocaleTimeString("en-GB");
    notice.textContent = `“${name}” was not confirmed by the web UI: ${reasonOf(error)}. It was ${time}.`;
    notice.hidden = false;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-full-load]")) return;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form, event.submitter));
  if (form.method === "post") {
    const name = event.submitter ? event.submitter.textContent.trim() : "The form";
    submit(form.action, fields, name);
  } else {
    history.replaceState(null, "", `${new URL(form.action).pathname}?${fields}`);
    refresh(location.href, true);
  }
});

// The draft of an answer outlives the page: a visitor looks at other pages before answering.
const restoredForms = new WeakSet();

function saveDraft(form) {
  const fields = [...new FormData(form)].filter(([name]) => name !== "do");
  sessionStorage.setItem("draft", JSON.stringify([form.dataset.draft, fields]));
}

function restoreDrafts() {
  const [name, fields] = JSON.parse(sessionStorage.getItem("draft") || "[]");
  for (const form of document.querySelectorAll("[data-draft]")) {
    if (form.dataset.draft === name && !restoredForms.has(form)) {
      for (const [field, value] of fields) form.elements[field].value = value;
    }
    restoredForms.add(form);
  }
}

document.addEventListener("input", ({ target }) => {
  if (target.form && target.form.matches("[data-draft]")) saveDraft(target.form);
  if (target.matches(".slider")) showReadout(target);
  if (target.form && target.form.matches("[data-filter]")) target.form.requestSubmit();
});

// ---- Rows of a trace ----------------------------------------------------------------------

// The arrow keys move from row to row, and collapse and expand what is below a row.
document.addEventListener("keydown", (event) => {
  const control = event.target.closest(".row summary, button.fold");
  if (!control || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const row = control.closest(".row");
  const steps = { ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling" };
  if (steps[event.key]) {
    let next = row[steps[event.key]];
    while (next && !next.querySelector("summary")) next = next[steps[event.key]];
    if (next) next.querySelector("summary").focus();
    event.preventDefault();
  }
  const isExpanded = { ArrowLeft: "true", ArrowRight: "false" }[event.key];
  const fold = isExpanded && row.querySelector(`button.fold[aria-expanded=${isExpanded}]`);
  if (fold) {
    fold.click();
    event.preventDefault();
  }
});

// ---- Copying ------------------------------------------------------------------------------

const COPIED_SHOWN_MS = 2000;

function addCopyButton(after, what) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "copy";
  button.setAttribute("aria-label", `Copy ${what}`);
  button.dataset.added = "";
  after.append(button);
}

// The buttons of a row are added when it opens: a page may have thousands of rows.
document.addEventListener("toggle", ({ target }) => {
  if (!target.open || target.querySelector("[data-added]")) return;
  for (const value of target.querySelectorAll("dd")) {
    const part = "cut" in value.dataset ? "the beginning of " : "";
    addCopyButton(value, part + value.previousElementSibling.textContent);
  }
  for (const id of target.querySelectorAll(".origin > span")) {
    addCopyButton(id, id.firstChild.textContent.trim());
  }
}, true);

document.addEventListener("click", async ({ target }) => {
  if (!target.matches(".copy")) return;
  const what = target.getAttribute("aria-label").replace("Copy ", "");
  let result = "copied";
  try {
    const source = target.closest("dd") ? target.parentElement.firstChild : target.previousSibling;
    await navigator.clipboard.writeText(source.textContent.trim());
  } catch {
    // The clipboard is there only on this machine or by TLS, and only if the browser allows it.
    result = "not copied: the browser does not allow it here";
  }
  document.getElementById("copied").textContent = `${what} ${result}`;
  // A refresh must not take the word away before it was read.
  target.dataset.keep = "";
  target.textContent = result;
  setTimeout(() => {
    target.textContent = "copy";
    delete target.dataset.keep;
  }, COPIED_SHOWN_MS);
});

// Buttons that need this script are hidden without it.
document.documentElement.classList.add("scripted");

restoreDrafts();
refreshForever();
