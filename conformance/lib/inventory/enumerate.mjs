// Which typed calls the official library has, read from its own type declarations, so that a new version of it cannot bring
// one that nobody noticed.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const LIBRARY = path.dirname(path.dirname(fileURLToPath(import.meta.resolve('@signalapp/libsignal-client'))));
/** Calls of a connection that ask nothing of the server. */
const LOCAL = new Set(['disconnect', 'connectionInfo']);

/** Name and version of the installed library. */
export function libraryName() {
  const { name, version } = JSON.parse(fs.readFileSync(path.join(LIBRARY, 'package.json'), 'utf8'));
  return `${name} ${version}`;
}

/**
 * Every typed call of the chat and registration connections, sorted: `auth.` on an authenticated connection, `unauth.` on an
 * unauthenticated one, `net.` on the library's entry point, `registration.` on a registration session.
 */
export function typedCalls() {
  return [...serviceCalls(), ...connectionCalls(), ...netCalls(), ...registrationCalls()].sort();
}

/** The service interfaces that are mixed into the two kinds of connection. */
function serviceCalls() {
  const folder = 'net/chat';
  return fs
    .readdirSync(path.join(LIBRARY, 'dist', folder))
    .filter((file) => file.endsWith('Service.d.ts'))
    .flatMap((file) => {
      const source = declarations(path.join(folder, file));
      const prefix = file.startsWith('Auth') ? 'auth' : 'unauth';
      const service = body(source, `export interface ${file.replace('.d.ts', '')} {`);
      return matches(service, /^ {4}(\w+): \(/gm).map((name) => `${prefix}.${name}`);
    });
}

function connectionCalls() {
  const source = declarations('net/Chat.d.ts');
  const kinds = { auth: 'AuthenticatedChatConnection', unauth: 'UnauthenticatedChatConnection' };
  return Object.entries(kinds).flatMap(([prefix, name]) =>
    matches(body(source, `export declare class ${name} `), /^ {4}(?!constructor)(\w+)\(/gm)
      .filter((call) => !LOCAL.has(call))
      .map((call) => `${prefix}.${call}`),
  );
}

function netCalls() {
  const net = body(declarations('net.d.ts'), 'export declare class Net {');
  return matches(net, /^ {4}((?:pre)?connect\w+|\w*[rR]egist\w+)\(/gm).map((name) => `net.${name}`);
}

function registrationCalls() {
  const service = body(declarations('net/Registration.d.ts'), 'export declare class RegistrationService {');
  return matches(service, /^ {4}(?!constructor)(\w+)\(/gm).map((name) => `registration.${name}`);
}

function declarations(file) {
  return fs.readFileSync(path.join(LIBRARY, 'dist', file), 'utf8');
}

/** From the opening line to the brace that closes it at the start of a line. */
function body(source, opening) {
  const start = source.indexOf(opening);
  if (start < 0) throw new Error(`the library no longer declares "${opening}"`);
  return source.slice(start, source.indexOf('\n}', start));
}

function matches(source, pattern) {
  return [...new Set([...source.matchAll(pattern)].map((match) => match[1]))];
}
