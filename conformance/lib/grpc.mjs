// gRPC calls that the library has no call for, made by hand.

import http2 from 'node:http2';
import { basicAuth } from './client.mjs';
import { readFields, writeFields } from './protobuf.mjs';

const TIMEOUT_MS = 10_000;
const FRAME_HEAD_LEN = 5;

/** A call that failed: the status code of gRPC, and what the server tells of it. */
export class GrpcError extends Error {
  constructor(status, details) {
    super(`grpc-status ${status}: ${details}`);
    this.name = 'GrpcError';
    this.status = status;
  }
}

/**
 * One unary call on a connection of its own. `message` is the request, `[[number, value]]` as `writeFields` takes it;
 * `account` adds its credentials. Resolves with the fields of the response.
 */
export async function grpcCall(server, method, message, { account } = {}) {
  const headers = { ':method': 'POST', ':path': method, 'content-type': 'application/grpc', te: 'trailers' };
  if (account) [, headers.authorization] = basicAuth(account.username, account.password);
  const payload = writeFields(message);
  const frame = Buffer.alloc(FRAME_HEAD_LEN + payload.length);
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, FRAME_HEAD_LEN);
  const { body, status, details } = await unary(server, headers, frame);
  if (status !== 0) throw new GrpcError(status, details);
  return readFields(body.subarray(FRAME_HEAD_LEN));
}

function unary({ port, caPem }, headers, frame) {
  const session = http2.connect(`https://localhost:${port}`, { host: '127.0.0.1', port, ca: caPem });
  return new Promise((resolve, reject) => {
    session.on('error', reject);
    session.setTimeout(TIMEOUT_MS, () => reject(new Error('no answer')));
    const stream = session.request(headers);
    const [chunks, trailers] = [[], {}];
    stream.on('error', reject);
    // A call that fails has its status among the headers; one that does not, among the trailers.
    for (const event of ['response', 'trailers']) stream.on(event, (received) => Object.assign(trailers, received));
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('end', () => resolve({ body: Buffer.concat(chunks), ...statusOf(trailers) }));
    stream.end(frame);
  }).finally(() => session.destroy());
}

function statusOf(trailers) {
  const details = Buffer.from(trailers['grpc-status-details-bin'] ?? '', 'base64').toString('latin1');
  return { status: Number(trailers['grpc-status']), details };
}
