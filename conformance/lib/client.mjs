// The official client library, pointed at a server under test.
//
// Its local-server mode always dials "localhost" (the name in TLS and in the request, without the port) and trusts
// exactly one root certificate.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { Events } from './events.mjs';
import { utf8 } from './bytes.mjs';

/**
 * The three ways a request of the library reaches a server: requests in websocket frames over HTTP/1.1; the same over
 * HTTP/2 with gRPC beside them, which is what apps do today; and HTTP/2 with every call that has a REST form back in frames.
 */
export const CARRIERS = Object.freeze([
  { name: 'h1', httpVersion: 1, grpc: false },
  { name: 'h2', httpVersion: 2, grpc: true },
  { name: 'h2-ws', httpVersion: 2, grpc: false },
]);

/** The carrier on which the library's gRPC calls can be made. */
export const GRPC_CARRIER = CARRIERS.find((carrier) => carrier.grpc);

const GRPC_SWITCHES = Signal.Net.REMOTE_CONFIG_KEYS.filter((key) => key.startsWith('grpc.'));

/**
 * One instance of the library. Use one per simulated device: an instance remembers failed connects and then waits before
 * the next, up to half a minute.
 */
export function makeNet({ port, caPem, carrier }) {
  const net = new Signal.Net.Net({
    localTestServer: true,
    userAgent: 'heliograph-conformance',
    TESTING_localServer_chatPort: port,
    TESTING_localServer_cdsiPort: port,
    TESTING_localServer_svr2Port: port,
    TESTING_localServer_svrBPort: port,
    TESTING_localServer_rootCertificateDer: Uint8Array.from(new crypto.X509Certificate(caPem).raw),
    TESTING_localServer_httpVersion: carrier.httpVersion,
  });
  if (carrier.httpVersion === 2 && !carrier.grpc) {
    const socketOnly = new Map(GRPC_SWITCHES.map((key) => [key, 'ws']));
    net.setRemoteConfig(socketOnly, Signal.Net.BuildVariant.Production);
  }
  return net;
}

/**
 * An authenticated connection. `trustRoots` are the keys that sender certificates are checked against, which an app has
 * built in. Events: `message` {envelope, timestamp, ack(status)}, `queueEmpty`, `alerts` {alerts},
 * `serverTimestamp` {timestamp}, `interrupted` {cause}.
 */
export async function connectAuthenticated(net, account, { receiveStories = false, trustRoots = [] } = {}) {
  const { events, closed, onConnectionInterrupted } = watch();
  const listener = {
    onConnectionInterrupted,
    onIncomingMessage: (envelope, timestamp, ack) =>
      events.push('message', { envelope, timestamp, ack: (status = 200) => ack.send(status) }),
    onQueueEmpty: () => events.push('queueEmpty'),
    onReceivedAlerts: (alerts) => events.push('alerts', { alerts }),
    onServerTimestamp: (timestamp) => events.push('serverTimestamp', { timestamp }),
  };
  const chat = await net.connectAuthenticatedChat(account.username, account.password, receiveStories, listener);
  return new Connection({ chat, events, closed, account, trustRoots });
}

/** An unauthenticated connection. Its only event is `interrupted` {cause}. */
export async function connectUnauthenticated(net) {
  const { events, closed, onConnectionInterrupted } = watch();
  const chat = await net.connectUnauthenticatedChat({ onConnectionInterrupted });
  return new Connection({ chat, events, closed, account: null });
}

function watch() {
  const events = new Events();
  let settle;
  const closed = new Promise((resolve) => {
    settle = resolve;
  });
  const onConnectionInterrupted = (cause) => {
    events.push('interrupted', { cause });
    settle();
  };
  return { events, closed, onConnectionInterrupted };
}

/**
 * A chat connection: `chat` is the library's own object with every typed call on it, `closed` resolves once the library has
 * reported its end.
 */
export class Connection {
  constructor({ chat, events, closed, account, trustRoots = [] }) {
    Object.assign(this, { chat, events, closed, account, trustRoots });
  }

  /** A raw REST request inside the websocket. Resolves with the answer whatever its status. */
  async rest(verb, path, { json, body, headers = [], timeoutMillis = 10_000 } = {}) {
    const response = await this.chat.fetch({
      verb,
      path,
      headers: json === undefined ? headers : [['content-type', 'application/json'], ...headers],
      body: json === undefined ? body : utf8(JSON.stringify(json)),
      timeoutMillis,
    });
    const text = response.body ? Buffer.from(response.body).toString('utf8') : '';
    const names = response.headers.map(([name, value]) => [name.toLowerCase(), value]);
    return { status: response.status, headers: Object.fromEntries(names), text, json: parseJson(text) };
  }

  /** Resolves when the server has read everything that was sent before, acknowledgements among it. */
  async flush() {
    await this.rest('GET', '/v1/keepalive');
  }

  /** Closes the connection and waits until the library has reported it. */
  async disconnect() {
    await this.chat.disconnect();
    await this.closed;
  }
}

/** An `authorization` header. */
export function basicAuth(user, password) {
  return ['authorization', `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`];
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
