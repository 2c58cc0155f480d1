// Blind votes: which side is on the left is drawn for each cell, and kept with the votes when the browser allows it.
const ballot = (() => {
  const key = `assetforge-votes-${facts.comparison}-${facts.evidence}`;
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(key)) || {};
  } catch {
    kept = {};
  }
  const votes = new Map(Object.entries(kept).map(([cell, vote]) => [Number(cell), vote]));
  const left = new Map([...votes].map(([cell, vote]) => [cell, vote.left]));
  const coin = () => crypto.getRandomValues(new Uint8Array(1))[0] % 2 === 0;
  const keep = () => {
    try {
      localStorage.setItem(key, JSON.stringify(Object.fromEntries(votes)));
    } catch {
      // The page may not keep anything; the votes are in it until it is closed.
    }
  };
  const shuffled = (cells) => {
    const drawn = [...cells];
    for (let place = drawn.length - 1; place > 0; place--) {
      const other = crypto.getRandomValues(new Uint32Array(1))[0] % (place + 1);
      [drawn[place], drawn[other]] = [drawn[other], drawn[place]];
    }
    return drawn;
  };
  const differing = facts.order.filter((cell) => !facts.cells[cell].same);
  return {
    // The worst ones come first also here, since they matter most, but among themselves in any order.
    order: [...shuffled(differing.slice(0, 12)), ...shuffled(differing.slice(12))],
    left(cell) {
      if (!left.has(cell)) left.set(cell, coin() ? "new" : "baseline");
      return left.get(cell);
    },
    of: (cell) => votes.get(cell),
    vote(cell, side, seconds) {
      const first = this.left(cell);
      const second = first === "new" ? "baseline" : "new";
      votes.set(cell, { cell, left: first, choice: side === "tie" ? "tie" : side === "left" ? first : second, seconds });
      keep();
    },
    clear() {
      votes.clear();
      left.clear();
      keep();
    },
    count: () => votes.size,
    json: () => JSON.stringify({ comparison: facts.comparison, votes: [...votes.values()] }),
  };
})();
