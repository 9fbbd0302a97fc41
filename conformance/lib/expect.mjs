// Assertions in the words of the protocol.

import assert from 'node:assert/strict';
import * as Signal from '@signalapp/libsignal-client';

const CLOCK_TOLERANCE_MS = 60_000;

/** Awaits a call that must fail with the given error of the library (its `ErrorCode` name); resolves with the error. */
export async function failsWith(name, call) {
  let result;
  try {
    result = await call();
  } catch (error) {
    assert.equal(codeName(error), canonical(name), error.message);
    return error;
  }
  return assert.fail(`expected ${name}, but the call succeeded with ${String(result)}`);
}

/** The `ErrorCode` name of an error of the library; its class name if it is none. */
export function codeName(error) {
  return Signal.ErrorCode[error?.code] ?? error?.name;
}

/** Of several names that the library has for one error, the one that `codeName` gives. */
export function canonical(name) {
  return Signal.ErrorCode[Signal.ErrorCode[name]] ?? name;
}

/** Waits until the server has closed the connection for the given reason, an `ErrorCode` name. */
export async function closedFor(connection, name) {
  const { cause } = await connection.events.waitFor('interrupted');
  assert.equal(codeName(cause), name, String(cause));
}

/** The message must not have been delivered: the connection's queue was drained without it. */
export async function nothingDelivered(connection) {
  await connection.events.waitFor('queueEmpty');
  assert.deepEqual(connection.events.drain('message'), [], 'a message was delivered');
}

/** An answer without a result: the status, no body, no content type. */
export function assertEmpty(response, status) {
  assert.equal(response.status, status, response.text);
  assert.equal(response.text, '');
  assert.equal(response.headers['content-type'], undefined);
}

/** A JSON answer: the status, and the exact content type the library insists on. */
export function assertJson(response, status = 200) {
  assert.equal(response.status, status, response.text);
  assert.equal(response.headers['content-type'], 'application/json');
  assert.notEqual(response.json, undefined, `not JSON: ${response.text}`);
  return response.json;
}

/** The answer carries the server's clock, in milliseconds, and it is about right. */
export function assertTimestamped(response) {
  const header = response.headers['x-signal-timestamp'];
  assert.match(header ?? '', /^\d{13}$/, `x-signal-timestamp is ${header}`);
  assert.ok(Math.abs(Number(header) - Date.now()) < CLOCK_TOLERANCE_MS, `the server's clock says ${header}`);
}
