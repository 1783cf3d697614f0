/* The page's side of a conversation: at most one request at a time, always about the newest values. */
(function () {
  "use strict";

  const state = { view: "", address: "", serial: 0, busy: false, dirty: false, timer: 0, watch: 0, poll: 0, last: {} };
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const session = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const place = (id) => document.getElementById(id);
  const here = () => location.pathname + location.search;

  /* What the page is doing, for its style and for those who wait for it: ready, waiting or computing. */
  const tell = (what) => (document.documentElement.dataset.state = what);

  function request() {
    tell("waiting");
    clearTimeout(state.poll);
    clearTimeout(state.watch);
    state.busy = true;
    state.watch = setTimeout(() => {
      state.busy = false;
      tell("ready");
      set("error-", { children: "The server does not answer. Is it still running?" });
    }, 30000);
    return { serial: ++state.serial, session, dark: prefersDark.matches };
  }

  function visit() {
    clearTimeout(state.timer);
    state.dirty = false;
    state.address = here();
    state.view = location.pathname.replace(/^\/+/, "").replace(/\/+$/, "") || state.first;
    return { ...request(), view: state.view, query: location.search };
  }

  function open(address) {
    history.pushState(null, "", address);
    window.scrollTo(0, 0);
    state.opened = true;
    set("visit", { data: visit() });
  }

  function texts() {
    const found = {};
    for (const part of document.querySelectorAll("[data-control]")) {
      const box = place("box-" + part.dataset.control);
      if (box) found[part.dataset.control] = box.value;
    }
    return found;
  }

  function ask(extra) {
    clearTimeout(state.timer);
    if (state.busy) {
      state.dirty = true;
      return;
    }
    const pictures = Array.from(document.querySelectorAll("[data-picture]"), (one) => one.dataset.picture);
    set("ask", { data: { ...request(), view: state.view, texts: texts(), pictures, ...extra } });
  }

  const askSoon = (wait) => {
    tell("waiting");
    clearTimeout(state.timer);
    state.timer = setTimeout(ask, wait);
  };

  function showErrors(errors) {
    for (const part of document.querySelectorAll("[data-control]")) {
      const name = part.dataset.control;
      const text = errors[name] || "";
      const box = place("box-" + name);
      set("error-" + name, { children: text });
      part.classList.toggle("refused", text !== "");
      const described = [place("help-" + name) && "help-" + name, text && "error-" + name].filter(Boolean).join(" ");
      for (const input of [box, place("slide-" + name)]) {
        if (!input) continue;
        input.setAttribute("aria-invalid", String(text !== ""));
        input.setAttribute("aria-describedby", described);
      }
      const slide = place("slide-" + name);
      if (slide && box) slide.setAttribute("aria-label", part.querySelector("label").textContent + ", slider");
    }
    set("error-", { children: errors[""] || "" });
  }

  function hear(answer) {
    if (!answer || answer.serial !== state.serial) return window.dash_clientside.no_update;
    clearTimeout(state.watch);
    state.busy = false;
    requestAnimationFrame(() => showErrors(answer.errors || {}));
    document.title = answer.title;
    if (answer.command) set("command", { children: answer.command });
    if (answer.query !== null && !state.dirty) {
      const address = location.pathname + (answer.query ? "?" + answer.query : "");
      if (address !== here()) history.replaceState(null, "", address + location.hash);
      state.address = here();
    }
    const running = answer.running;
    set("work", { hidden: !running });
    place("results").setAttribute("aria-busy", String(Boolean(running)));
    if (running) {
      set("work-words", { children: running[1] + " (" + Math.round(100 * running[0]) + " %)" });
      set("work-share", { value: String(running[0]) });
    }
    if (answer.rows) state.last = answer;
    if (state.opened) requestAnimationFrame(() => place("title").focus());
    state.opened = false;
    if (state.dirty) {
      state.dirty = false;
      ask();
    } else if (running) {
      tell("computing");
      state.poll = setTimeout(ask, 250);
    } else {
      requestAnimationFrame(() => requestAnimationFrame(() => state.busy || tell("ready")));
    }
    return answer.serial;
  }

  function clicked(clicks) {
    const context = window.dash_clientside.callback_context;
    const hit = context && context.triggered.length ? context.triggered[0] : null;
    const point = hit && hit.value && hit.value.points && hit.value.points[0];
    if (!point) return window.dash_clientside.no_update;
    const link = [].concat(point.customdata || []).find((one) => typeof one === "string" && one.startsWith("/"));
    if (link && !link.startsWith("//")) {
      open(link);
      return window.dash_clientside.no_update;
    }
    const name = JSON.parse(hit.prop_id.replace(/\.clickData$/, "")).name;
    for (const line of document.querySelectorAll("[data-figure]")) {
      if (line.dataset.figure !== name) continue;
      const box = line.querySelector("input");
      const own = [].concat(point.customdata || []);
      const numbers = own.length > 1 && own.every((v) => typeof v === "number") ? own : [point.x, point.y];
      const added = numbers.map((v) => String(Number(Number(v).toPrecision(5)))).join(",");
      const there = box.value.split(";").map((one) => one.trim()).filter(Boolean);
      const rest = there.filter((one) => one.replace(/\s/g, "") !== added);
      write(box, (rest.length < there.length ? rest : [...there, added]).join("; "));
    }
    return window.dash_clientside.no_update;
  }

  function write(box, text) {
    set(box.id, { value: text });
    box.value = text;
    ask();
  }

  function save(name, kind, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: kind }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  };

  function csv(rows) {
    const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    return [names, ...rows.map((row) => names.map((name) => row[name]))].map((r) => r.map(quoted).join(",")).join("\r\n") + "\r\n";
  }

  async function picture(button, format) {
    const graph = button.closest("figure").querySelector(".js-plotly-plot");
    const layout = { ...graph.layout, template: state.last.template, paper_bgcolor: "#ffffff", autosize: false };
    const size = { width: graph.clientWidth, height: graph.clientHeight };
    const figure = { data: graph.data, layout: { ...layout, ...size } };
    const address = await window.Plotly.toImage(figure, { format, scale: format === "png" ? 2 : 1, ...size });
    const link = document.createElement("a");
    link.href = address;
    link.download = state.view + "-" + button.dataset.name + "." + format;
    link.click();
  }

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      set("said", { children: what + " copied" });
    } catch {
      const range = document.createRange();
      range.selectNodeContents(place("command"));
      if (what === "Command") getSelection().removeAllRanges(), getSelection().addRange(range);
      set("said", { children: what === "Command" ? "Selected; copy it with your keyboard" : "Copy the address of this page" });
    }
    setTimeout(() => set("said", { children: "" }), 3000);
  }

  const actions = {
    cancel: () => {
      state.busy = false;
      ask({ cancel: true });
    },
    clear: (button) => write(place("box-" + button.dataset.name), ""),
    "copy-command": () => copy(place("command").textContent, "Command"),
    "copy-link": () => copy(location.href, "Link"),
    "numbers-csv": () => save(state.view + ".csv", "text/csv", csv(state.last.rows || [])),
    "numbers-json": () => {
      const { view, rows, words, command } = state.last;
      const values = Object.fromEntries(new URLSearchParams(location.search));
      const text = JSON.stringify({ view, address: location.href, values, command, words, rows }, null, 1);
      save(state.view + ".json", "application/json", text + "\n");
    },
    "picture-png": (button) => picture(button, "png"),
    "picture-svg": (button) => picture(button, "svg"),
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (button) return actions[button.dataset.action](button);
    const link = event.target.closest("a[href^='/']");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    open(link.getAttribute("href"));
  });

  document.addEventListener("input", (event) => {
    const id = event.target.id || "";
    if (id.startsWith("slide-")) {
      const box = place("box-" + id.slice(6));
      box.value = event.target.value;
      set(box.id, { value: event.target.value });
      askSoon(0);
    } else if (id.startsWith("box-")) {
      const slide = place("slide-" + id.slice(4));
      if (slide && event.target.value.trim() !== "" && isFinite(event.target.value)) set(slide.id, { value: event.target.value });
      askSoon(event.target.tagName === "SELECT" ? 0 : 350);
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.target.id || "").startsWith("box-")) ask();
  });

  /* A jump within the page, as by the link past the controls, asks for nothing. */
  window.addEventListener("popstate", () => here() === state.address || set("visit", { data: visit() }));
  prefersDark.addEventListener("change", () => ask());

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    explorer: {
      start: () => {
        const first = document.querySelector("nav a");
        state.first = first ? first.getAttribute("href").slice(1) : "";
        return visit();
      },
      hear,
      clicked,
    },
  });
})();
