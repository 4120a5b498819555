// Node's http2 as a backend that takes WebSockets by extended CONNECT (RFC 8441): sends back what it gets, then says goodbye.
// Its first line is its port.
import http2 from 'node:http2';

const server = http2.createServer({ settings: { enableConnectProtocol: true } });
server.on('stream', (stream, head) => {
  stream.on('error', () => {});
  if (head[':method'] !== 'CONNECT' || head[':protocol'] !== 'websocket' || head['sec-websocket-key']) {
    stream.respond({ ':status': 400 });
    stream.end('no WebSocket');
    return;
  }
  stream.respond({ ':status': 200, 'sec-websocket-protocol': head['sec-websocket-protocol'] });
  stream.on('data', (piece) => stream.write(piece));
  stream.on('end', () => stream.end('goodbye'));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
