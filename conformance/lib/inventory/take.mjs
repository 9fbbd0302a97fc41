// Making every typed call against a running server, and saying what became of it.

import { CARRIERS, GRPC_CARRIER } from '../client.mjs';
import { codeName } from '../expect.mjs';
import { encryptFor } from '../messages.mjs';
import { libraryName, typedCalls } from './enumerate.mjs';
import { authProbes } from './probe-auth.mjs';
import { netProbes, registrationProbes } from './probe-net.mjs';
import { unauthProbes } from './probe-unauth.mjs';

const ANSWER_WITHIN_MS = 20_000;
const PROBES = Object.fromEntries(
  Object.entries({ auth: authProbes, unauth: unauthProbes, net: netProbes, registration: registrationProbes }).flatMap(
    ([prefix, probes]) => Object.entries(probes).map(([name, probe]) => [`${prefix}.${name}`, probe]),
  ),
);

/** What the library or the server says when a call cannot be made, and what that means. Anything else is a failure. */
const VERDICTS = [
  [/requires an H2 connection/, 'not-applicable: the library has no REST form of it'],
  [/not supported on local test server/, "not-applicable: the library refuses it on a server of one's own"],
  [/unimplemented/i, 'unimplemented: gRPC answers UNIMPLEMENTED'],
  [/(response status|HTTP error:?|status code:?) 404/i, 'unimplemented: the path is not found'],
];

/**
 * Calls whose path exists for something else, and the refusal that means here that the server does not offer them. The
 * multi-recipient probe shows a token that endorses nobody, so it needs a real one before it can work.
 */
const REFUSED_WHERE_NOT_OFFERED = {
  'net.registerAccountWithoutNumber': 'RegisterAccountRequestRejected',
  'unauth.sendMultiRecipientMessage': 'RequestUnauthorized',
};

/** Throws when the library has a call without a probe, or a probe has lost its call. */
export function checkProbes() {
  const calls = new Set(typedCalls());
  const probed = new Set(Object.keys(PROBES).map((name) => name.replace(/ \(.*\)$/, '')));
  const missing = [...calls].filter((call) => !probed.has(call));
  const stale = [...probed].filter((call) => !calls.has(call));
  if (missing.length + stale.length > 0) {
    throw new Error(
      `calls without a probe: ${missing.join(', ') || 'none'}; probes without a call: ${stale.join(', ') || 'none'}`,
    );
  }
}

/** The whole inventory: `{ library, calls: { name: { carrier: verdict } } }`, in a stable order. */
export async function takeInventory(world) {
  checkProbes();
  const calls = {};
  for (const name of Object.keys(PROBES).sort()) calls[name] = {};
  for (const carrier of CARRIERS) {
    const scene = await makeScene(world, carrier);
    for (const name of Object.keys(calls)) calls[name][carrier.name] = await verdict(name, () => PROBES[name](scene));
  }
  return { library: libraryName(), calls };
}

/** Lines telling how two inventories differ, none when they do not. */
export function differences(expected, actual) {
  const names = new Set([...Object.keys(expected.calls ?? {}), ...Object.keys(actual.calls)]);
  const lines = [];
  if (expected.library !== actual.library)
    lines.push(`library: ${expected.library} was recorded, ${actual.library} is installed`);
  for (const name of [...names].sort()) {
    for (const { name: carrier } of CARRIERS) {
      const [was, is] = [expected.calls?.[name]?.[carrier], actual.calls[name]?.[carrier]];
      if (was !== is) lines.push(`${name} over ${carrier}: recorded "${was ?? 'nothing'}", found "${is ?? 'nothing'}"`);
    }
  }
  return lines;
}

/** The people and connections the probes work with. */
async function makeScene(world, carrier) {
  const { alice, bob, devices } = await world.pair(carrier, { receiveStories: true });
  return {
    alice,
    bob,
    devices,
    anonymous: await world.connectAnonymously(carrier),
    contents: () => encryptFor(alice.account, bob.account.aci, devices, 'probe'),
    net: () => world.net(carrier),
    person: () => world.person(carrier),
    grpcPerson: () => world.person(GRPC_CARRIER),
    connectAnonymously: () => world.connectAnonymously(carrier),
    newNumber: () => world.newNumber(),
    outbox: world.server.outbox,
  };
}

async function verdict(name, call) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), ANSWER_WITHIN_MS);
  });
  try {
    await Promise.race([call(), late]);
    return 'works';
  } catch (error) {
    const known = VERDICTS.find(([pattern]) => pattern.test(error?.message));
    if (!known && codeName(error) === REFUSED_WHERE_NOT_OFFERED[name]) return 'unimplemented: the server refuses it';
    return known?.[1] ?? `fails: ${codeName(error)}: ${firstLine(error)}`;
  } finally {
    clearTimeout(timer);
  }
}

function firstLine(error) {
  return String(error?.message).split('\n')[0];
}
