// Stand-ins for the push services of Google and Apple, which check what they are sent as the real ones do.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';

const PROJECT = 'conformance';
const EMAIL = `pusher@${PROJECT}.iam.gserviceaccount.com`;
const KEY_ID = 'ABC123DEFG';
const TEAM_ID = 'DEF123GHIJ';
const TOPIC = 'org.example.signal';
const WAIT_MS = 20_000;

/** Both services on one port of this machine. `secrets` is the secrets folder of a development server: its certificate is used. */
export class PushServices {
  #server;
  #google = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  #apple = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  #waiting = new Set();
  pushes = [];
  mistakes = [];

  static async start(secrets) {
    const services = new PushServices();
    const [key, cert] = ['tls-key.pem', 'tls-certificate.pem'].map((name) => fs.readFileSync(path.join(secrets, name)));
    services.#server = http2.createSecureServer({ key, cert });
    services.#server.on('stream', (stream, headers) => services.#receive(stream, headers));
    await new Promise((resolve) => services.#server.listen(0, '127.0.0.1', resolve));
    services.#server.unref();
    services.url = `https://localhost:${services.#server.address().port}`;
    return services;
  }

  /** The sections of the configuration that push here; keys are written into that folder. */
  config(folder, caFile) {
    const pem = (pair) => pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
    const [account, key] = ['service-account.json', 'apns.p8'].map((name) => path.join(folder, name));
    const token_uri = `${this.url}/token`;
    const json = { project_id: PROJECT, client_email: EMAIL, private_key_id: '1', private_key: pem(this.#google), token_uri };
    fs.writeFileSync(account, JSON.stringify(json));
    fs.writeFileSync(key, pem(this.#apple));
    return [
      `[push]\nca_file = "${caFile}"`,
      `[fcm]\nservice_account_file = "${account}"\nurl = "${this.url}"`,
      `[apns]\nkey_file = "${key}"\nkey_id = "${KEY_ID}"\nteam_id = "${TEAM_ID}"\ntopic = "${TOPIC}"\nurl = "${this.url}"`,
      '',
    ].join('\n');
  }

  /** Pushes to that token so far. */
  to(token) {
    return this.pushes.filter((push) => push.token === token);
  }

  /** The pushes to that token, as soon as there are so many. */
  async waitFor(token, count) {
    const deadline = Date.now() + WAIT_MS;
    while (this.to(token).length < count) {
      if (Date.now() > deadline) throw new Error(`${this.to(token).length} pushes of ${count}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.to(token);
  }

  close() {
    this.#server.close();
  }

  async #receive(stream, headers) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const [status, answer] = this.#answer(headers, body);
    stream.respond({ ':status': status, 'content-type': 'application/json' });
    stream.end(answer === undefined ? '' : JSON.stringify(answer));
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #answer(headers, body) {
    try {
      const route = headers[':path'];
      if (route === '/token') return [200, this.#grant(body)];
      if (route === `/v1/projects/${PROJECT}/messages:send`) return [200, this.#takeFcm(headers, body)];
      return [200, this.#takeApns(route, headers, body)];
    } catch (error) {
      this.mistakes.push(error.message);
      return [400, { error: { status: 'INVALID_ARGUMENT' }, reason: 'BadRequest' }];
    }
  }

  #grant(body) {
    const form = new URLSearchParams(body);
    assert.equal(form.get('grant_type'), 'urn:ietf:params:oauth:grant-type:jwt-bearer');
    const claims = verified(form.get('assertion'), 'RS256', { key: this.#google.publicKey });
    assert.equal(claims.iss, EMAIL);
    assert.equal(claims.scope, 'https://www.googleapis.com/auth/firebase.messaging');
    assert.equal(claims.aud, `${this.url}/token`);
    assert.ok(claims.exp - claims.iat <= 3600 && claims.exp > Date.now() / 1000);
    return { access_token: 'access', expires_in: 3599, token_type: 'Bearer' };
  }

  #takeFcm(headers, body) {
    assert.equal(headers.authorization, 'Bearer access');
    const { token, data, android } = JSON.parse(body).message;
    this.pushes.push({ service: 'fcm', token, data, urgent: android.priority === 'HIGH' });
    return { name: `projects/${PROJECT}/messages/1` };
  }

  #takeApns(route, headers, body) {
    const [, token] = /^\/3\/device\/([0-9a-zA-Z]+)$/.exec(route);
    const bearer = headers.authorization.replace(/^bearer /, '');
    const claims = verified(bearer, 'ES256', { key: this.#apple.publicKey, dsaEncoding: 'ieee-p1363' });
    assert.equal(claims.iss, TEAM_ID);
    assert.equal(headers['apns-topic'], TOPIC);
    const data = JSON.parse(body);
    const urgent = headers['apns-push-type'] === 'alert';
    assert.equal(headers['apns-priority'], urgent ? '10' : '5');
    assert.equal(headers['apns-collapse-id'], urgent ? 'incoming-message' : undefined);
    this.pushes.push({ service: 'apns', token, data, urgent });
  }
}

/** The claims of a token that is signed as it should be. */
function verified(token, algorithm, key) {
  const [header, claims, signature] = token.split('.');
  const json = (part) => JSON.parse(Buffer.from(part, 'base64url'));
  assert.equal(json(header).alg, algorithm);
  const signed = Buffer.from(`${header}.${claims}`);
  assert.ok(crypto.verify('sha256', signed, key, Buffer.from(signature, 'base64url')), 'a wrong signature');
  return json(claims);
}
