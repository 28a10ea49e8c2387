// The state of what is on the page, in its address: a link holds what the reader sees.

const PAUSE = 120; // a slider changes the state faster than browsers take addresses [ms]

// Where the reader went last, as far as the page was told. The event comes some time after the address has changed.
let known = location.hash, visits = 0;
addEventListener("hashchange", () => {
  known = location.hash;
  visits += 1;
});

/**
 * Put words into the address, at once. Whoever writes there does it here: else the change would pass for the reader's.
 * @param {URLSearchParams} words
 * @returns {void}
 */
export function writeAddress(words) {
  try { history.replaceState(null, "", `#${words}`); } catch { /* too many in a row: the next one will do */ }
  known = location.hash;
}

/**
 * Keep a state in the address. Where the reader goes to another address first, that one stays: what was about to be
 * written is of the state before.
 * @param {() => URLSearchParams | null} words  the state as it is; null where it is no longer on the page
 * @returns {{ soon: () => void, now: () => void }} write a moment after the last change; write at once
 */
export function addressOf(words) {
  let writing = 0, since = 0;
  const now = () => {
    clearTimeout(writing);
    const said = words();
    if (said !== null) writeAddress(said);
  };
  const later = () => {
    if (since === visits && location.hash === known) now();
    known = location.hash;
  };
  const soon = () => {
    clearTimeout(writing);
    since = visits;
    writing = setTimeout(later, PAUSE);
  };
  return { soon, now };
}
