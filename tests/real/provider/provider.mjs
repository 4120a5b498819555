// An OpenID provider (npm oidc-provider) for client credentials, with JWT access tokens.
//
//   node provider.mjs SETTINGS.json
//
// Settings: `port`; `keys_dir`, where named keys are kept over restarts; `keys`, the names to publish, of which the first
// signs; `max_age` of the key set in seconds; `clients` by id: `secret`, `ttl` of tokens in seconds, `claims` to add, `alg`.
// A key that is called as an algorithm is for that one, others are for RS256; a client with `alg` gets tokens signed by that key.
// PUT /test/keys with a list of names rotates the keys, PUT /test/clients replaces the clients. The provider itself does the rest.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import Provider from 'oidc-provider';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${settings.port}`;

const curves = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

function generate(name) {
  if (name in curves) return generateKeyPairSync('ec', { namedCurve: curves[name] });
  return name === 'EdDSA' ? generateKeyPairSync('ed25519') : generateKeyPairSync('rsa', { modulusLength: 2048 });
}

function key(name) {
  const file = join(settings.keys_dir, `${name}.json`);
  if (!existsSync(file)) {
    const alg = /^([RPE]S\d{3}|EdDSA)$/.test(name) ? name : 'RS256';
    const jwk = { ...generate(name).privateKey.export({ format: 'jwk' }), kid: name, use: 'sig', alg };
    writeFileSync(file, JSON.stringify(jwk), { mode: 0o600 });
  }
  return JSON.parse(readFileSync(file, 'utf8'));
}

function provider(names) {
  const { clients } = settings;
  const sign = (alg) => ({ alg, kid: alg === 'RS256' ? names[0] : alg });
  const configuration = {
    jwks: { keys: names.map(key) },
    clients: Object.entries(clients).map(([id, client]) => ({
      client_id: id,
      client_secret: client.secret,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://metrics.example',
        getResourceServerInfo: (_context, resource, client) => ({
          audience: resource,
          scope: 'write read',
          accessTokenFormat: 'jwt',
          accessTokenTTL: clients[client.clientId].ttl,
          jwt: { sign: sign(clients[client.clientId].alg ?? 'RS256') },
        }),
      },
    },
    extraTokenClaims: (_context, token) => clients[token.clientId].claims,
  };
  return new Provider(issuer, configuration).callback();
}

let handle = provider(settings.keys);

createServer((request, response) => {
  if (request.url === '/test/keys' || request.url === '/test/clients') {
    let body = '';
    request.on('data', (chunk) => { body += chunk; });
    request.on('end', () => {
      settings[request.url.slice('/test/'.length)] = JSON.parse(body);
      handle = provider(settings.keys);
      response.writeHead(204).end();
    });
    return;
  }
  if (request.url === '/jwks' && settings.max_age !== undefined) {
    response.setHeader('Cache-Control', `max-age=${settings.max_age}`);
  }
  handle(request, response);
}).listen(settings.port, '127.0.0.1', () => console.log('ready'));
