// A server of Node's http2: `server.mjs h2c` or `server.mjs tls CERT KEY`, which speaks HTTP/1.1 as well.
// Prints its port. Says in `x-version` what was spoken.
import { readFileSync } from 'node:fs';
import { createSecureServer, createServer } from 'node:http2';

const [kind, cert, key] = process.argv.slice(2);

function answer(request, response) {
  response.setHeader('x-version', request.httpVersion);
  response.setHeader('x-method', request.method);
  response.setHeader('x-cookie', request.headers.cookie ?? '');
  switch (request.url) {
    case '/empty':
      response.writeHead(204);
      return response.end();
    case '/broken':
      response.write('half');
      return setTimeout(() => (response.stream ?? response.socket).destroy(new Error('broken')), 100);
    case '/large':
      response.setHeader('content-length', 5_000_000);
      return response.end(Buffer.alloc(5_000_000, 'x'));
    case '/early':
      // Answers without reading the request.
      response.writeHead(413);
      return response.end('too large');
    default:
      return request.pipe(response);
  }
}

const server = kind === 'tls'
  ? createSecureServer({ cert: readFileSync(cert), key: readFileSync(key), allowHTTP1: true }, answer)
  : createServer(answer);
server.on('upgrade', (_request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.pipe(socket);
});
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
