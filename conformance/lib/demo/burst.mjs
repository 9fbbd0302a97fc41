// Many messages in a row, with a ledger of what the server accepted, and the server killed half way.

/** How many sends are under way at a time: enough for the kill to hit some. */
const IN_FLIGHT = 8;

/** What the writer knows: which texts were accepted, and which had to be sent again. */
export class Ledger {
  constructor() {
    this.accepted = new Set();
    this.retried = new Set();
  }

  /** Compares with what the reader has: `{ lost, unexplained }`, both lists of texts. */
  compare(inbox) {
    const read = new Map();
    for (const { text } of inbox) read.set(text, (read.get(text) ?? 0) + 1);
    const lost = [...this.accepted].filter((text) => !read.has(text));
    // A message may be there twice only when its first send got no answer and was made again.
    const unexplained = [...read].filter(([text, count]) => count > 1 && !this.retried.has(text)).map(([text]) => text);
    return { lost, unexplained };
  }
}

/**
 * Sends the texts and writes down what is accepted. After `killAfter` acceptances, `kill` is called while others are under
 * way; the sends that fail by it are made again once `kill` has brought the server back.
 */
export async function sendBurst({ from, to, texts, ledger, killAfter, kill }) {
  const waiting = [...texts];
  let killed = null;
  let encrypting = Promise.resolve();
  const take = () => {
    const text = waiting.shift();
    // One session encrypts one message at a time, in order.
    const prepared = encrypting.then(() => from.prepare(to, text));
    encrypting = prepared.then(() => {});
    return { text, prepared };
  };
  const worker = async () => {
    while (waiting.length > 0) {
      const { text, prepared } = take();
      const transmit = await prepared;
      try {
        await transmit();
        ledger.accepted.add(text);
      } catch (error) {
        if (killed === null) throw error;
        ledger.retried.add(text);
        await killed;
        waiting.unshift(text);
        continue;
      }
      if (ledger.accepted.size >= killAfter && killed === null) killed = kill();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  await killed;
}
