// The audit log of a server, as its operator exports it.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** The records, oldest first. */
export async function auditRecords(server, ...filters) {
  const text = await server.command('audit', 'export', ...filters);
  return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

/** The records that fit, as soon as there are any. `what` names them, should there never be. */
export async function recorded(server, fits, what = 'nothing that fits') {
  for (let tries = 0; tries < 200; tries++) {
    const found = (await auditRecords(server)).filter(fits);
    if (found.length) return found;
    await sleep(50);
  }
  return assert.fail(`not recorded: ${what}`);
}

/** Whether a record is of that action, with that outcome and, if it has one, that detail. */
export function isOf(action, outcome, detail = null) {
  return (record) => record.action === action && record.outcome === outcome && (record.detail ?? null) === detail;
}
