"use strict";
// Asks for the same address each second and merges what is new into the page, by ids: nothing that stays is replaced, so no
// click, selection or focus is lost. Without this script the page works too, one look at a time.

function merge(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) { old.data = fresh.data; return; }
  if (old.hasAttribute("data-own")) { if (old.max) old.max = fresh.max; return; }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const stays = new Map([...fresh.children].filter((each) => each.id).map((each) => [each.id, each]));
  for (const each of [...old.children]) if (each.id && !stays.has(each.id)) each.remove();
  const known = new Map([...old.children].filter((each) => each.id).map((each) => [each.id, each]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const like = at && !at.id && !next.id && at.nodeName === next.nodeName ? at : null;
    const same = next.id ? known.get(next.id) : like;
    known.delete(next.id);
    if (same) merge(same, next);
    if (same && same === at) at = at.nextSibling;
    else old.insertBefore(same || document.importNode(next, true), at);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}
let held = false, turn = 0;
async function refresh(asked = fetch(location.href), force = false) {
  const mine = ++turn;
  try {
    const answer = await asked;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== turn || (held && !force)) return;
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = document.getElementById(part.id);
      if (old) merge(old, part);
    }
    document.querySelectorAll(".read:hover, .read:focus-visible").forEach(read);
    document.getElementById("offline").hidden = true;
  } catch {
    document.getElementById("offline").hidden = false;
  }
}

function read(range, fraction) {
  const chart = range.closest(".chart"), at = JSON.parse(chart.dataset.at), said = chart.querySelector(".said");
  if (typeof fraction === "number") {
    range.value = at.reduce((best, x, i) => (Math.abs(x - fraction * 1000) < Math.abs(at[best] - fraction * 1000) ? i : best), 0);
  }
  const number = Math.min(range.value, at.length - 1), text = JSON.parse(chart.dataset.read)[number];
  said.textContent = text;
  range.setAttribute("aria-valuetext", text);
  for (const end of ["x1", "x2"]) chart.querySelector(".cursor").setAttribute(end, `${at[number] / 10}%`);
  chart.classList.add("reading");
}

document.addEventListener("pointermove", (event) => {
  const area = event.target.closest(".area"), range = area && area.querySelector(".read");
  document.querySelectorAll(".reading").forEach((each) => each.contains(range || document.activeElement) || each.classList.remove("reading"));
  if (range) read(range, (event.clientX - area.getBoundingClientRect().left) / area.clientWidth);
});
document.addEventListener("focusin", ({ target }) => target.matches(".read") && target.matches(":focus-visible") && read(target));
document.addEventListener("focusout", ({ target }) => target.matches(".read") && target.closest(".chart").classList.remove("reading"));
document.addEventListener("keydown", (event) => {
  const dot = event.target.closest(".dot"), way = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
  if (dot && way && dot[way]) { event.preventDefault(); dot[way].focus(); }
});
for (const [name, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) addEventListener(name, () => { held = down; });

document.addEventListener("submit", (event) => {
  const form = event.target, said = new URLSearchParams(new FormData(form, event.submitter));
  if (form.matches("[data-plain]")) return;
  event.preventDefault();
  if (form.method === "post") { refresh(fetch(form.action, { method: "POST", body: said }), true); return; }
  history.replaceState(null, "", `/?${said}`);
  refresh();
});
document.addEventListener("input", ({ target }) => {
  if (target.matches(".read")) read(target);
  if (target.form && target.form.matches("[data-filter]")) target.form.requestSubmit();
});
(async () => { for (;;) { await new Promise((done) => setTimeout(done, 1000)); if (!document.hidden && !("still" in document.body.dataset)) await refresh(); } })();
