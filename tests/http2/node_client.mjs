// Node's http2 as a client: node_client.mjs PLAIN_PORT TLS_PORT. One line a check, `name: ok` or what was wrong.
import http2 from 'node:http2';

const [plain, tls] = process.argv.slice(2);
const say = (name, wrong) => console.log(`${name}: ${wrong || 'ok'}`);
const differs = (got, want) => (JSON.stringify(got) === JSON.stringify(want) ? '' : `${JSON.stringify(got)}, want ${JSON.stringify(want)}`);

function ask(session, headers, { body, trailers } = {}) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined, waitForTrailers: trailers !== undefined });
    const answer = { status: 0, body: '', trailers: undefined };
    stream.on('response', (head) => { answer.status = head[':status']; answer.headers = head; });
    stream.on('trailers', (fields) => { answer.trailers = fields['x-sum']; });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.setEncoding('utf8');
    stream.on('data', (piece) => { answer.body += piece; });
    stream.on('end', () => resolve(answer));
    stream.on('error', reject);
    if (body !== undefined) stream.end(body);
  });
}

const session = http2.connect(`https://127.0.0.1:${tls}`, { rejectUnauthorized: false });
const get = await ask(session, { ':path': '/' });
say('get', differs([get.status, get.body], [200, 'ok']));
const large = await ask(session, { ':path': '/large' });
say('large', differs(large.body.length, 1 << 20));
const post = await ask(session, { ':path': '/echo', ':method': 'POST', trailer: 'x-end' }, { body: 'body', trailers: { 'x-end': '1' } });
say('post', differs([post.status, post.body, post.headers['x-trailers']], [200, 'body', 'x-end: 1']));
const many = await Promise.all(Array.from({ length: 80 }, (_, n) => ask(session, { ':path': `/${n}`, cookie: ['a=b', 'c=d'] })));
say('many', differs(many.every((answer) => answer.status === 200 && /cookie: a=b; c=d/i.test(answer.headers['x-seen'])), true));
const trailers = await ask(session, { ':path': '/trailers' });
say('trailers', differs([trailers.body, trailers.trailers], ['body', '0']));

const left = session.request({ ':path': '/never' });
left.on('error', () => {});
await new Promise((resolve) => setTimeout(resolve, 50));
left.close(http2.constants.NGHTTP2_CANCEL);
say('goes_on_after_a_reset', differs((await ask(session, { ':path': '/' })).status, 200));
session.close();

const chat = http2.connect(`http://127.0.0.1:${plain}`);
await new Promise((resolve) => chat.once('remoteSettings', resolve));
say('extended_connect_is_offered', differs(chat.remoteSettings.enableConnectProtocol, true));
const socket = chat.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat', 'sec-websocket-version': '13' });
const opened = await new Promise((resolve, reject) => { socket.once('response', resolve); socket.once('error', reject); });
say('websocket_opens', differs([opened[':status'], opened.upgrade], [200, undefined]));
socket.write('ping');
say('websocket_passes', differs(String(await new Promise((resolve) => { socket.once('data', resolve); })), 'ping'));
socket.end();
socket.resume();
await new Promise((resolve) => { socket.once('close', resolve); });
chat.close();
say('end', '');
