// The server under test: a real process with a data folder of its own.

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Outbox } from './outbox.mjs';
import { trustRootsOf } from './sealed.mjs';

const READY_WITHIN_MS = 30_000;
const STOPPED_WITHIN_MS = 15_000;
const LOG_TAIL_BYTES = 4_000;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Limits so wide that no test meets one it did not ask for. */
const WIDE = { size: 1_000_000_000, interval_ms: 1 };
const LIMIT_NAMES = [
  'registration',
  'verification_session',
  'verification_code_send',
  'verification_code_check',
  'verification_captcha',
  'prekeys',
  'messages',
  'inbound_message_bytes',
  'check_account_existence',
  'challenge',
  'pin',
  'allocate_device',
  'verify_device',
  'wait_for_linked_device',
  'native_registration',
  'login_address',
  'login_stranger',
  'upload_transfer_archive',
  'wait_for_transfer_archive',
  'restore_account',
  'restore_account_kept',
  'totp',
];

/** The program to test: the `HELIOGRAPH_SERVER` variable, or the release build of this working copy. */
export function serverBinary() {
  return path.resolve(process.env.HELIOGRAPH_SERVER || path.join(ROOT, 'target/release/heliograph'));
}

/** A port that nobody listens on just now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** A server process that can be stopped or killed and run again on the same data. */
export class Server {
  #child = null;
  #guard = null;
  #exit = null;

  /**
   * Prepares a fresh folder. `limits` overrides the wide limits of tests by name: `{ size, interval_ms }`, or `null` for the
   * server's own. `config` is more of the configuration file. `port` is where it listens; 0 takes a free one.
   */
  constructor({ binary = serverBinary(), limits = {}, config = '', port = 0 } = {}) {
    this.binary = binary;
    this.wantedPort = port;
    this.home = fs.mkdtempSync(path.join(os.tmpdir(), 'heliograph-conformance-'));
    this.data = path.join(this.home, 'data');
    this.logFile = path.join(this.home, 'server.log');
    this.configFile = path.join(this.home, 'config.toml');
    this.outbox = new Outbox(path.join(this.data, 'outbox.jsonl'));
    fs.writeFileSync(this.configFile, `${configToml(limits)}\n${config}`);
  }

  /** A server on a fresh data folder, accepting connections. */
  static async start(options) {
    const server = new Server(options);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.dispose();
      throw error;
    }
  }

  /** First start: makes the data folder and learns what clients are told to trust. */
  async start() {
    await this.run();
    const clientConfig = await this.clientConfig();
    this.caPem = clientConfig.ca_pem;
    this.trustRoots = trustRootsOf(clientConfig);
  }

  /** Runs the program on the data folder, on a port of its choice. */
  async run() {
    const log = fs.openSync(this.logFile, 'a');
    const args = ['serve', '--dev', '--data', this.data, '--config', this.configFile, '--listen', `127.0.0.1:${this.wantedPort}`];
    const child = spawn(this.binary, args, { stdio: ['ignore', 'pipe', log] });
    fs.closeSync(log);
    this.#child = child;
    this.#exit = new Promise((resolve) => {
      child.on('error', (error) => resolve({ error }));
      child.on('exit', (code, signal) => resolve({ code, signal }));
    });
    if (child.pid !== undefined) {
      this.#guard = guard(child.pid);
      child.on('exit', () => this.#guard.kill('SIGKILL'));
    }
    this.url = await this.#ready(child);
    this.port = Number(new URL(this.url).port);
  }

  async #ready(child) {
    const lines = readline.createInterface({ input: child.stdout });
    const timer = setTimeout(() => child.kill('SIGKILL'), READY_WITHIN_MS);
    try {
      for await (const line of lines) {
        const ready = /^ready (https:\/\/\S+)$/.exec(line);
        if (ready) return ready[1];
      }
    } finally {
      clearTimeout(timer);
      child.stdout.resume();
    }
    const { error } = await this.#exit;
    throw new Error(`the server did not get ready: ${error?.message ?? this.logTail()}`);
  }

  /** What `heliograph client-config` prints for this data folder. */
  async clientConfig() {
    return JSON.parse(await this.command('client-config'));
  }

  /** Runs another command of the program on this data folder; resolves with what it prints. */
  async command(...args) {
    const { stdout } = await promisify(execFile)(this.binary, [...args, '--data', this.data]);
    return stdout;
  }

  /** Tells the process to take up what has changed on disk. */
  hangUp() {
    this.#child.kill('SIGHUP');
  }

  /** What `heliograph reports` prints while this server runs, line by line. */
  async reports() {
    const { stdout } = await promisify(execFile)(this.binary, ['reports', '--data', this.data]);
    return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  get pid() {
    return this.#child?.pid;
  }

  /** Asks the process to stop, as a service manager does; resolves with `{ code, signal }`. */
  async stop() {
    return this.#end('SIGTERM');
  }

  /** Kills the process without a word, as a power cut does. */
  async kill() {
    return this.#end('SIGKILL');
  }

  async #end(signal) {
    if (!this.#child) return { code: null, signal: null };
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), STOPPED_WITHIN_MS);
    const exit = await this.#exit;
    clearTimeout(timer);
    this.#child = null;
    return exit;
  }

  /** Ends the process, if it runs, and removes its folder. */
  async dispose() {
    await this.kill();
    if (process.env.HELIOGRAPH_KEEP) console.error(`kept: ${this.home}`);
    else fs.rmSync(this.home, { recursive: true, force: true });
  }

  /** Whether the process has not ended by itself. */
  get running() {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The end of the server's log. */
  logTail() {
    const log = fs.existsSync(this.logFile) ? fs.readFileSync(this.logFile, 'utf8') : '';
    return log.slice(-LOG_TAIL_BYTES) || 'its log is empty';
  }
}

/**
 * A second process that ends the server when this one is gone, however it went: the pipe between them closes, `read`
 * returns, the server is killed. In its own session, so that a Ctrl-C meant for the tests does not end it first.
 */
function guard(pid) {
  const script = 'read -r _; kill -9 "$0" 2>/dev/null';
  const child = spawn('/bin/sh', ['-c', script, String(pid)], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  child.on('error', () => {});
  child.stdin.on('error', () => {});
  child.stdin.unref?.();
  child.unref();
  return child;
}

function configToml(overrides) {
  const sections = LIMIT_NAMES.map((name) => [name, name in overrides ? overrides[name] : WIDE]);
  return sections
    .filter(([, limit]) => limit !== null)
    .map(([name, { size, interval_ms }]) => `[limits.${name}]\nsize = ${size}\ninterval_ms = ${interval_ms}\n`)
    .join('\n');
}
