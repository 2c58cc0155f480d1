"use strict";
// What textual.js leaves out: it waits for the font, gives the terminal the keyboard, and says why it ended.

const LOST = { title: "The connection is lost.", text: "The program behind this tab ends; jobs go on." };
const GONE = {
  title: "The server does not answer.",
  text: "Start it again with `assetforge serve`, and open the address that it prints. Jobs go on.",
};
let farewell = LOST;

function showEnd(said) {
  const end = document.getElementById("end");
  end.querySelector("h1").textContent = said.title;
  end.querySelector("p").textContent = said.text;
  if (!end.open) end.showModal();
}

window.WebSocket = class extends window.WebSocket {
  constructor(...given) {
    super(...given);
    // The program is told about the keyboard through the socket, so not before it is open.
    this.addEventListener("open", () => document.querySelector(".xterm-helper-textarea")?.focus());
    this.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") return;
      const [what, said] = JSON.parse(data);
      if (what === "farewell") farewell = said;
    });
    this.addEventListener("close", () => showEnd(farewell));
  }

  send(data) {
    // textual.js sends whenever the window or the keyboard changes, also before the beginning and after the end.
    if (this.readyState === WebSocket.OPEN) super.send(data);
  }
};

document.addEventListener("DOMContentLoaded", () => {
  const end = document.getElementById("end");
  end.addEventListener("cancel", (event) => event.preventDefault());
  end.querySelector("button").addEventListener("click", async () => {
    try {
      await fetch("/");
      window.location.reload();
    } catch {
      showEnd(GONE);
    }
  });
  // textual.js begins at `load`, and measures the letters once: their font has to be there before.
  const begin = window.onload;
  window.onload = async (event) => {
    const styles = ["16px", "bold 16px", "italic 16px"];
    const fonts = Promise.all(styles.map((style) => document.fonts.load(`${style} "Roboto Mono"`)));
    await Promise.race([fonts, new Promise((resolve) => setTimeout(resolve, 3000))]).catch(() => {});
    begin(event);
  };
});
