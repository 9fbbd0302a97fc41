// Plain HTTPS requests with Node's own clients, for what a websocket does not show: the status line, every header, refused
// upgrades.

import http2 from 'node:http2';
import https from 'node:https';
import tls from 'node:tls';
import { basicAuth } from './client.mjs';

const TIMEOUT_MS = 10_000;

/** The two HTTP versions a server offers on its port. */
export const HTTP_VERSIONS = Object.freeze([1, 2]);

/**
 * One request on a connection of its own. `account` adds its credentials. Resolves with `{ status, headers, text, json }`;
 * header names are lower case.
 */
export async function request(server, { version = 1, method = 'GET', path, headers = {}, account, json, body }) {
  const sent = { ...headers };
  if (account) [, sent.authorization] = basicAuth(account.username, account.password);
  if (json !== undefined) sent['content-type'] = 'application/json';
  const payload = json === undefined ? body : JSON.stringify(json);
  const response = await (version === 1 ? requestHttp1 : requestHttp2)(server, method, path, sent, payload);
  return { ...response, json: parseJson(response.text) };
}

/** Asks for a websocket, in the way of the HTTP version, and resolves with the answer; an accepted one is closed at once. */
export function upgrade(server, { version, path = '/v1/websocket/', headers = {} }) {
  return version === 1 ? upgradeHttp1(server, path, headers) : upgradeHttp2(server, path, headers);
}

/** A TLS handshake with the given offer: resolves with `{ protocol, alpn }`. */
export function handshake(server, options) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ ...endpoint(server), ...options }, () => {
      resolve({ protocol: socket.getProtocol(), alpn: socket.alpnProtocol });
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** What an HTTP/2 server announces about itself. */
export function remoteSettings(server) {
  return withSession(server, (session) => new Promise((resolve) => session.once('remoteSettings', resolve)));
}

function requestHttp1(server, method, path, headers, payload) {
  // Node says the length of a body by itself, but not with DELETE.
  if (payload !== undefined && method === 'DELETE') headers = { ...headers, 'content-length': Buffer.byteLength(payload) };
  return new Promise((resolve, reject) => {
    const outgoing = https.request({ ...endpoint(server), method, path, headers, agent: false, timeout: TIMEOUT_MS });
    outgoing.on('response', (incoming) => resolve(collect(incoming, incoming.statusCode, incoming.headers)));
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')));
    outgoing.on('error', reject);
    outgoing.end(payload);
  });
}

function requestHttp2(server, method, path, headers, payload) {
  return withSession(server, (session) => {
    const stream = session.request(
      { ':method': method, ':path': path, ...headers },
      { endStream: payload === undefined },
    );
    if (payload !== undefined) stream.end(payload);
    return answerOf(stream, (incoming) => collect(stream, incoming[':status'], incoming));
  });
}

function upgradeHttp1(server, path, headers) {
  const wanted = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': Buffer.alloc(16, 7).toString('base64'),
  };
  return new Promise((resolve, reject) => {
    const outgoing = https.request({ ...endpoint(server), path, headers: { ...wanted, ...headers }, agent: false });
    outgoing.on('response', (incoming) => resolve(collect(incoming, incoming.statusCode, incoming.headers)));
    outgoing.on('upgrade', (incoming, socket) => {
      socket.destroy();
      resolve({ status: incoming.statusCode, headers: incoming.headers, text: '' });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

async function upgradeHttp2(server, path, headers) {
  const wanted = { ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13' };
  return withSession(server, async (session) => {
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    const stream = session.request({ ...wanted, ...headers });
    return answerOf(stream, (incoming) => ({ status: incoming[':status'], headers: plainHeaders(incoming), text: '' }));
  });
}

async function withSession(server, use) {
  const { host, port, ca, servername } = endpoint(server);
  const session = http2.connect(`https://localhost:${port}`, { host, port, ca, servername });
  try {
    return await new Promise((resolve, reject) => {
      session.on('error', reject);
      session.setTimeout(TIMEOUT_MS, () => reject(new Error('no answer')));
      Promise.resolve(use(session)).then(resolve, reject);
    });
  } finally {
    session.destroy();
  }
}

function answerOf(stream, read) {
  return new Promise((resolve, reject) => {
    stream.on('response', (incoming) => resolve(read(incoming)));
    stream.on('error', reject);
    stream.on('close', () => reject(new Error('the stream was closed')));
  });
}

function collect(readable, status, headers) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    readable.on('data', (chunk) => chunks.push(chunk));
    readable.on('end', () =>
      resolve({ status, headers: plainHeaders(headers), text: Buffer.concat(chunks).toString() }),
    );
    readable.on('error', reject);
    readable.on('close', () => reject(new Error('the answer was cut off')));
  });
}

function plainHeaders(headers) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));
}

function endpoint(server) {
  return { host: '127.0.0.1', port: server.port, servername: 'localhost', ca: server.caPem };
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
