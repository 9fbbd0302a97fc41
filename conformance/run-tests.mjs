// Runs test files, each in a process of its own, and prints Node's report with the totals at the very end, where whoever
// runs them looks first: `node run-tests.mjs FILE…`. The exit code is 1 when anything failed.

import path from 'node:path';
import { Readable } from 'node:stream';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** Most of the time of a file is waiting: for codes, connections, a server to start. */
const FILES_AT_A_TIME = 3;
/** Some seconds are usual; a file this late hangs. */
const FILE_LIMIT_MS = 300_000;
const TOTAL = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

const totals = [];
const events = run({
  files: process.argv.slice(2).map((file) => path.resolve(file)),
  concurrency: FILES_AT_A_TIME,
  timeout: FILE_LIMIT_MS,
  // Left to end by itself, Node tears down what the library's own threads still use, and the library aborts the process.
  forceExit: true,
});
events.on('test:fail', () => {
  process.exitCode = 1;
});

Readable.from(withoutTotals(events)).pipe(new spec()).on('end', printTotals).pipe(process.stdout);

async function* withoutTotals(all) {
  for await (const event of all) {
    if (event.type === 'test:diagnostic' && TOTAL.test(event.data.message)) totals.push(event.data.message);
    else yield event;
  }
}

function printTotals() {
  process.stdout.write(`\nconformance: ${totals.join(', ')}\n`);
}
