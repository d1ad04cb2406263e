// Keeps the page as lbd says it is: each event brings the whole of <main> anew, already escaped,
// and what differs is put in its place, so that focus, opened services and the filter stay.
"use strict";
(() => {
  const STALE_MS = 12000; // lbd sends something every 5 s
  const AGAIN_MS = 5000;
  const main = document.querySelector("main");
  const line = document.querySelector("#line");
  const filter = document.querySelector("#filter");
  let heard = Date.now();
  let skew = 0; // lbd's clock minus this one's
  let source = null;

  const keyOf = (node) => (node.nodeType === 1 && node.dataset.key) || node.nodeName;

  function morph(old, fresh) {
    if (old.dataset.open !== fresh.dataset.open) old.open = fresh.hasAttribute("open");
    for (const { name } of [...old.attributes]) {
      // Those two are the reader's.
      if (name !== "open" && name !== "hidden" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const left = new Map();
    for (const child of old.childNodes) {
      const key = keyOf(child);
      if (!left.has(key)) left.set(key, []);
      left.get(key).push(child);
    }
    let at = old.firstChild;
    for (const wanted of fresh.childNodes) {
      let node = (left.get(keyOf(wanted)) || []).shift();
      if (!node) node = document.importNode(wanted, true);
      else if (node.nodeType === 1) morph(node, wanted);
      else if (node.data !== wanted.data) node.data = wanted.data;
      if (node === at) at = at.nextSibling;
      else old.insertBefore(node, at);
    }
    for (const nodes of left.values()) for (const node of nodes) node.remove();
  }

  function ago(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    const pair = (big, unit, small, rest) => big + unit + (small ? " " + small + rest : "");
    if (s < 60) return s + "s";
    if (s < 3600) return pair(Math.floor(s / 60), "m", s % 60, "s");
    if (s < 86400) return pair(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "m");
    return pair(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
  }

  function ages() {
    for (const time of main.querySelectorAll("time")) {
      const text = ago((Date.now() + skew - Date.parse(time.dateTime)) / 1000);
      const shown = time.dataset.ago === undefined ? text : text + " ago";
      if (time.textContent !== shown) time.textContent = shown;
      if (!time.title) time.title = new Date(time.dateTime).toString();
    }
  }

  function say(text, lost) {
    if (line.textContent !== text) line.textContent = text;
    line.classList.toggle("lost", lost);
    document.body.classList.toggle("lost", lost);
    document.title = (lost ? "? " : "") + main.dataset.title;
  }

  const clock = () => new Date(heard).toLocaleTimeString();

  function heardOf(event) {
    heard = Date.now();
    skew = Number(event.lastEventId) - heard;
    say("live", false);
  }

  const opened = new WeakMap(); // as they were before the filter opened them

  function sift() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const service of main.querySelectorAll("details")) {
      const own = service.querySelector("summary").textContent.toLowerCase();
      let any = false;
      for (const row of service.querySelectorAll("tbody tr")) {
        const text = own + " " + row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        any = any || !row.hidden;
      }
      any = any || words.every((word) => own.includes(word));
      service.hidden = !any;
      if (words.length && !opened.has(service)) opened.set(service, service.open);
      if (words.length) service.open = any;
      else if (opened.has(service)) {
        service.open = opened.get(service);
        opened.delete(service);
      }
    }
  }

  function connect() {
    if (source) source.close();
    source = new EventSource("events");
    source.addEventListener("page", (event) => {
      const fresh = new DOMParser().parseFromString(event.data, "text/html").querySelector("main");
      if (!fresh) return;
      // Another lbd, another page.
      if (fresh.dataset.version !== main.dataset.version) return location.reload();
      morph(main, fresh);
      if (filter.value) sift();
      heardOf(event);
      ages();
    });
    source.addEventListener("beat", heardOf);
  }

  let asked = Date.now();
  setInterval(() => {
    ages();
    const silent = Date.now() - heard > STALE_MS;
    const broken = source.readyState !== EventSource.OPEN;
    if (silent || (broken && Date.now() - heard > AGAIN_MS / 2)) {
      say("Disconnected: what you see is from " + clock() + ". Trying again.", true);
    }
    // The browser itself gives up after an answer that is none, and never notices silence.
    if ((source.readyState === EventSource.CLOSED || silent) && Date.now() - asked > AGAIN_MS) {
      asked = Date.now();
      connect();
    }
  }, 1000);

  filter.hidden = false;
  filter.addEventListener("input", sift);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== filter) {
      event.preventDefault();
      filter.focus();
    } else if (event.key === "Escape" && document.activeElement === filter) {
      filter.value = "";
      sift();
    }
  });
  skew = Number(document.body.dataset.now) - Date.now();
  say("connecting", false);
  ages();
  connect();
})();
