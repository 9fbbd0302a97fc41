// The demo's output: one line for each thing that happens, with the time it took.

const TIME_WIDTH = 9;
const WHO_WIDTH = 12;

/** Prints a heading. */
export function heading(text) {
  console.log(`\n${text}`);
}

/** Prints one line: how long it took, who, and what. */
export function line(ms, who, what) {
  const time = ms === null ? '' : `${ms.toFixed(1)} ms`;
  console.log(`${time.padStart(TIME_WIDTH)}  ${who.padEnd(WHO_WIDTH)}  ${what}`);
}

/** Does something and prints that it was done; `describe` makes the words from the result. */
export async function timed(who, action, describe) {
  const started = performance.now();
  const result = await action();
  line(performance.now() - started, who, typeof describe === 'string' ? describe : describe(result));
  return result;
}

/** A text as it is quoted in a line. */
export function quote(text) {
  return `“${text}”`;
}
