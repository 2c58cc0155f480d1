(() => {
  const viewer = byId("viewer"), stage = byId("stage"), divide = byId("divide");
  const panes = Object.fromEntries([...stage.querySelectorAll("figure")].map((pane) => [pane.dataset.pane, pane]));
  const hasBaseline = "baseline" in facts.sides;
  const narrow = matchMedia("(max-width: 700px)");
  const state = { cell: null, mode: "side", base: false, flip: 0, gain: 4, blind: false, since: 0, drawing: 0 };
  const order = () => (state.blind ? ballot.order : facts.order);
  const cellFacts = () => facts.cells[state.cell];

  // The two sides that are compared now: left and right, or first and second.
  const sides = () => {
    if (!hasBaseline) return ["new", "control"];
    const left = state.blind ? ballot.left(state.cell) : "new";
    return [left, left === "new" ? "baseline" : "new"];
  };
  const named = (side, letter) => {
    if (side === "control") return "base";
    if (state.blind) return letter;
    return facts.sides[side];
  };

  const fill = (pane, side, letter) => {
    const image = pane.querySelector("img"), caption = pane.querySelector("figcaption");
    image.src = source(cellFacts().pictures[side]);
    image.alt = `${named(side, letter)}: ${cellFacts().prompt}`;
    const name = document.createElement("b");
    name.textContent = named(side, letter);
    caption.replaceChildren(name, ` ${state.blind ? "" : cellFacts().likeness[side] || ""}`);
    pane.dataset.side = state.blind && side !== "control" ? letter : side;
  };

  const shown = () => {
    const third = state.base && hasBaseline;
    if (state.mode === "side") return third ? ["a", "b", "c"] : ["a", "b"];
    if (state.mode === "difference") return ["difference"];
    const pair = third ? ["a", "c"] : ["a", "b"];
    if (state.mode === "slider") return pair;
    const all = third ? ["a", "b", "c"] : ["a", "b"];
    return [all[state.flip % all.length]];
  };

  const difference = async () => {
    const run = ++state.drawing;
    const [first, second] = sides();
    const other = state.base ? "control" : second;
    const caption = panes.difference.querySelector("figcaption");
    const pictures = cellFacts().pictures;
    const mean = await drawDifference(panes.difference.querySelector("canvas"), source(pictures[first]), source(pictures[other]), state.gain);
    if (run !== state.drawing) return;
    stage.dataset.difference = mean.toFixed(5);
    caption.textContent = `${named(first, "A")} and ${named(other, "B")}: ${(100 * mean).toFixed(1)} % apart, shown × ${state.gain}`;
  };

  const references = () => {
    const list = byId("v-references").querySelector("ul");
    // Which references are nearest is a matter of the new picture, so blind votes see the same ones everywhere.
    const near = !state.blind && cellFacts().references.length ? cellFacts().references : facts.references;
    list.replaceChildren(
      ...near.map(([name, title]) => {
        const item = document.createElement("li"), image = document.createElement("img");
        image.src = source(name);
        image.alt = title;
        item.append(image);
        return item;
      }),
    );
    byId("v-references").querySelector("h3").textContent = near === facts.references ? "references" : "nearest references";
    byId("v-references").hidden = near.length === 0;
  };

  const draw = () => {
    const [first, second] = sides();
    fill(panes.a, first, "A");
    fill(panes.b, second, "B");
    fill(panes.c, "control", "base");
    const visible = shown();
    for (const [name, pane] of Object.entries(panes)) pane.hidden = !visible.includes(name);
    stage.dataset.mode = state.mode;
    stage.dataset.shown = visible.join(" ");
    stage.style.setProperty("--n", visible.length);
    viewer.classList.toggle("blind", state.blind);
    for (const button of viewer.querySelectorAll("[aria-pressed]")) {
      const on = { base: state.base || !hasBaseline, blind: state.blind }[button.dataset.do] ?? button.dataset.do === state.mode;
      button.setAttribute("aria-pressed", String(on));
    }
    if (state.mode === "difference") difference();
    move();
  };

  const move = () => {
    stage.style.setProperty("--at", `${divide.value}%`);
    const visible = shown();
    if (state.mode !== "slider") return;
    const [left, right] = visible.map((name) => panes[name].querySelector("b").textContent);
    divide.setAttribute("aria-valuetext", `${divide.value} % ${left}, ${100 - divide.value} % ${right}`);
  };

  const describe = () => {
    const cell = cellFacts(), list = order(), place = list.indexOf(state.cell) + 1;
    byId("v-place").textContent = state.blind ? `${place} of ${list.length}, blind` : `${place} of ${list.length}, worst first`;
    byId("v-prompt").textContent = cell.prompt;
    byId("v-about").textContent = `${cell.block} · ${cell.about}`;
    byId("v-change").textContent = state.blind ? "" : cell.change;
    byId("v-change").className = `num ${cell.tone}`;
    byId("v-live").textContent = `Cell ${place} of ${list.length}: ${cell.prompt}. ${state.blind ? "" : cell.change}`;
    viewer.dataset.cell = state.cell;
    if (byId("v-count")) byId("v-count").textContent = ballot.count() === 1 ? "1 vote" : `${ballot.count()} votes`;
    const vote = state.blind && ballot.of(state.cell);
    const choice = vote ? (vote.choice === "tie" ? "tie" : vote.choice === vote.left ? "left" : "right") : "";
    for (const button of viewer.querySelectorAll(".v-vote button")) button.classList.toggle("chosen", button.dataset.do === choice);
  };

  const show = (cell) => {
    state.cell = Number(cell);
    state.flip = 0;
    state.since = performance.now();
    describe();
    references();
    draw();
    if (!viewer.open) {
      viewer.showModal();
      stage.focus();
    }
  };
  const open = (cell) => {
    if (!viewer.open) [state.mode, state.base] = [narrow.matches ? "slider" : "side", false];
    show(cell);
  };
  const step = (by) => {
    const list = order();
    show(list[(list.indexOf(state.cell) + by + list.length) % list.length]);
  };
  const setMode = (mode) => {
    const again = state.mode === mode;
    if (mode === "blink" && again) state.flip += 1;
    else state.mode = again ? "side" : mode;
    if (mode === "blink" && !again) state.flip = 1;
    draw();
    if (state.mode === "slider") divide.focus();
  };
  const vote = (side) => {
    ballot.vote(state.cell, side, Math.round((performance.now() - state.since) / 100) / 10);
    const list = order(), place = list.indexOf(state.cell);
    const open = [...list.slice(place + 1), ...list.slice(0, place)].find((cell) => !ballot.of(cell));
    if (open === undefined) {
      describe();
      act.votes();
    } else show(open);
  };
  const blind = () => {
    const entering = !viewer.open || !state.blind;
    state.blind = entering;
    if (!entering) return show(state.cell);
    if (!ballot.order.length) return undefined;
    if (!viewer.open) [state.mode, state.base] = [narrow.matches ? "slider" : "side", false];
    return show(ballot.order.find((cell) => !ballot.of(cell)) ?? ballot.order[0]);
  };
  const copy = async (text) => {
    byId("votes").value = text;
    byId("votes").select();
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      done = document.execCommand("copy");
    }
    byId("copied").textContent = done ? "copied" : "select the text and copy it";
  };
  const command = () => `assetforge review import - <<'VOTES'\n${ballot.json()}\nVOTES\n`;

  const act = {
    slider: () => setMode("slider"),
    blink: () => setMode("blink"),
    difference: () => setMode("difference"),
    base: () => {
      state.base = hasBaseline && !state.base;
      state.flip = state.base && state.mode === "blink" ? 2 : 0;
      draw();
    },
    previous: () => step(-1),
    next: () => step(1),
    blind,
    left: () => vote("left"),
    right: () => vote("right"),
    tie: () => vote("tie"),
    votes: () => {
      byId("votes").value = command();
      byId("copied").textContent = "";
      byId("ballot").showModal();
    },
    copy: () => copy(command()),
    "copy-json": () => copy(ballot.json()),
    clear: () => {
      ballot.clear();
      byId("ballot").close();
      if (viewer.open) show(state.cell);
    },
    more: () => amplify(2),
    less: () => amplify(0.5),
    help: () => byId("help").showModal(),
    close: () => viewer.close(),
    shut: (button) => button.closest("dialog").close(),
  };
  const amplify = (factor) => {
    state.gain = Math.min(32, Math.max(1, state.gain * factor));
    draw();
  };

  const cards = [...document.querySelectorAll("main [data-cell]")];
  for (const card of cards) card.addEventListener("click", () => open(card.dataset.cell));
  for (const button of document.querySelectorAll("button[data-do]")) button.addEventListener("click", () => act[button.dataset.do](button));
  divide.addEventListener("input", move);

  // Dragging anywhere on the pictures moves the divider.
  const drag = (event) => {
    const box = panes.a.getBoundingClientRect();
    divide.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    move();
  };
  stage.addEventListener("pointerdown", (event) => {
    if (state.mode !== "slider") return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    divide.focus();
    drag(event);
  });
  stage.addEventListener("pointermove", (event) => stage.hasPointerCapture(event.pointerId) && drag(event));

  // Back in the report, the focus is where the last cell that was looked at is shown.
  viewer.addEventListener("close", () => {
    const wasBlind = state.blind;
    state.blind = false;
    const there = cards.filter((card) => card.dataset.cell === String(state.cell) && card.checkVisibility());
    if (there.length && !wasBlind) there[0].focus();
  });

  const walk = (by) => {
    const at = cards.indexOf(document.activeElement);
    const visible = cards.filter((card) => card.checkVisibility() || card === document.activeElement);
    const place = at < 0 ? (by > 0 ? 0 : visible.length - 1) : visible.indexOf(cards[at]) + by;
    visible[Math.min(visible.length - 1, Math.max(0, place))].focus();
  };
  const keys = {
    j: () => step(1), n: () => step(1), ArrowRight: () => step(1), ArrowDown: () => step(1),
    k: () => step(-1), p: () => step(-1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
    s: act.slider, b: act.blink, " ": act.blink, d: act.difference, c: act.base,
    "+": act.more, "=": act.more, "-": act.less,
    v: hasBaseline ? act.blind : null, y: hasBaseline ? act.votes : null, "?": act.help,
  };
  const pageKeys = { j: () => walk(1), k: () => walk(-1), v: keys.v, y: keys.y, "?": act.help };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("#help[open], #ballot[open]")) return;
    const native = event.target === divide ? event.key.startsWith("Arrow") : event.target.matches("button, summary") && event.key === " ";
    if (native || event.target.matches("textarea")) return;
    let does = (viewer.open ? keys : pageKeys)[event.key];
    if (/^[1-9]$/.test(event.key)) {
      const number = Number(event.key);
      if (viewer.open && state.blind) does = [act.left, act.right, act.tie][number - 1];
      else if (number <= facts.order.length) does = () => open(facts.order[number - 1]);
    }
    if (!does) return;
    event.preventDefault();
    does();
  });
})();
