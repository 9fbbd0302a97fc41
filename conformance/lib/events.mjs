// What a connection's listener reported, for tests to wait on.

const DEFAULT_WAIT_MS = 8000;

/** A mailbox of named events. Each event is taken once: by whoever waits for it, or later by whoever asks first. */
export class Events {
  #unclaimed = [];
  #waiting = [];
  #handlers = new Map();

  /** Adds an event. */
  push(name, data = {}) {
    const event = { name, ...data };
    if (this.#handlers.has(name)) {
      this.#handlers.get(name)(event);
      return;
    }
    const index = this.#waiting.findIndex((waiter) => waiter.matches(event));
    if (index < 0) this.#unclaimed.push(event);
    else this.#waiting.splice(index, 1)[0].resolve(event);
  }

  /** Resolves with the oldest unclaimed event of that name, waiting for one if need be. */
  waitFor(name, { where = () => true, timeoutMs = DEFAULT_WAIT_MS } = {}) {
    const matches = (event) => event.name === name && where(event);
    const index = this.#unclaimed.findIndex(matches);
    if (index >= 0) return Promise.resolve(this.#unclaimed.splice(index, 1)[0]);
    return new Promise((resolve, reject) => {
      const waiter = {
        matches,
        resolve: (event) => {
          clearTimeout(timer);
          resolve(event);
        },
      };
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        reject(new Error(`no "${name}" event within ${timeoutMs} ms; unclaimed: ${this.#names()}`));
      }, timeoutMs);
      this.#waiting.push(waiter);
    });
  }

  /** Hands every event of that name to a function, those that are waiting first; nobody else sees them. */
  onEach(name, handler) {
    const waiting = this.drain(name);
    this.#handlers.set(name, handler);
    for (const event of waiting) handler(event);
  }

  /** Takes every unclaimed event of that name. */
  drain(name) {
    const taken = this.#unclaimed.filter((event) => event.name === name);
    this.#unclaimed = this.#unclaimed.filter((event) => event.name !== name);
    return taken;
  }

  #names() {
    return this.#unclaimed.map((event) => event.name).join(', ') || 'nothing';
  }
}
