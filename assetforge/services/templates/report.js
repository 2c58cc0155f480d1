"use strict";
(() => {
  const dialog = document.getElementById("light");
  const picture = dialog.querySelector("img");
  const shots = [...document.querySelectorAll("button.shot")];
  const cells = [...new Set(shots.map((shot) => shot.dataset.cell))];
  let current = null;
  const of = (cell) => shots.filter((shot) => shot.dataset.cell === cell);
  const show = (shot) => {
    current = shot;
    const source = shot.querySelector("img");
    picture.src = source.src;
    picture.alt = source.alt;
    dialog.querySelector(".side").textContent = shot.dataset.side;
    dialog.querySelector(".prompt").textContent = shot.dataset.prompt;
    dialog.querySelector(".about").textContent = shot.dataset.about;
    if (!dialog.open) dialog.showModal();
  };
  const step = (by) => {
    const place = (cells.indexOf(current.dataset.cell) + by + cells.length) % cells.length;
    const there = of(cells[place]);
    show(there.find((shot) => shot.dataset.side === current.dataset.side) || there[0]);
  };
  const act = {
    blink: () => {
      const here = of(current.dataset.cell).filter((shot) => shot.dataset.side !== "base");
      const sides = here.length > 1 ? here : of(current.dataset.cell);
      show(sides[(sides.indexOf(current) + 1) % sides.length]);
    },
    base: () => {
      const here = of(current.dataset.cell);
      const base = here.find((shot) => shot.dataset.side === "base");
      if (base) show(current === base ? here[0] : base);
    },
    previous: () => step(-1),
    next: () => step(1),
    close: () => dialog.close(),
  };
  const keys = { " ": "blink", b: "base", n: "next", p: "previous", ArrowRight: "next", ArrowLeft: "previous" };
  for (const shot of shots) shot.addEventListener("click", () => show(shot));
  for (const button of dialog.querySelectorAll("button[data-do]")) button.addEventListener("click", () => act[button.dataset.do]());
  dialog.addEventListener("keydown", (event) => {
    if (keys[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      act[keys[event.key]]();
    }
  });
  dialog.addEventListener("close", () => current && current.focus());
})();
