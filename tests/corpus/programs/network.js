// fetch and its neighbours: nobody outside answers, and that is an error like any other; the own loopback works.

const assert = require('assert');
const dns = require('dns').promises;
const fs = require('fs');
const http = require('http');
const https = require('https');
const net = require('net');
const os = require('os');

// Which of the two depends on what the resolver makes of a missing configuration.
const reason = ({ code, name }) => (['ENOTFOUND', 'EAI_AGAIN'].includes(code) ? 'no such name' : (code ?? name));
const refused = async (url) => {
  try {
    return `answered ${(await fetch(url, { signal: AbortSignal.timeout(10000) })).status}`;
  } catch (error) {
    return reason(error.cause ?? error);
  }
};
const listening = (server, ...where) => new Promise((resolve) => server.listen(...where, () => resolve(server.address())));

(async () => {
  const seen = {
    byAddress: await refused('http://192.0.2.1/'),
    nobody: await refused('http://127.0.0.1:9999/'),
    byName: await refused('https://example.com/'),
  };

  const web = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    response.setHeader('x-method', request.method);
    response.end(Buffer.concat(parts).toString().toUpperCase() + request.url);
  });
  const { port } = await listening(web, 0, '127.0.0.1');
  const posted = await fetch(`http://127.0.0.1:${port}/path`, { method: 'POST', body: 'x'.repeat(200000) });
  const body = await posted.text();
  seen.posted = [posted.status, posted.headers.get('x-method'), body.length, body.slice(-6)];
  const many = await Promise.all(
    Array.from({ length: 30 }, async (_, i) => (await fetch(`http://127.0.0.1:${port}/${i}`)).text()),
  );
  seen.many = many.join('') === Array.from({ length: 30 }, (_, i) => `/${i}`).join('');
  web.closeAllConnections();
  web.close();

  const pem = fs.readFileSync('server.pem');
  const secure = https.createServer({ key: pem, cert: pem }, (request, response) => response.end(request.socket.getProtocol()));
  const { port: securePort } = await listening(secure, 0, '127.0.0.1');
  const ask = (ca) =>
    new Promise((resolve) => {
      https
        .get({ host: '127.0.0.1', servername: 'localhost', port: securePort, ca, agent: false }, (response) => {
          response.setEncoding('utf8').on('data', resolve);
        })
        .on('error', (error) => resolve(error.code));
    });
  seen.tls = await ask(fs.readFileSync('authority.pem'));
  seen.untrusted = /UNABLE|SELF_SIGNED/.test(await ask(undefined));
  secure.closeAllConnections();
  secure.close();

  const unix = net.createServer((socket) => socket.pipe(socket));
  await listening(unix, '/tmp/echo.sock');
  seen.unix = await new Promise((resolve) => {
    const socket = net.connect('/tmp/echo.sock', () => socket.end('echo'));
    socket.setEncoding('utf8').on('data', resolve);
  });
  unix.close();

  seen.localhost = ['127.0.0.1', '::1'].includes((await dns.lookup('localhost')).address);
  seen.lookup = await dns.lookup('example.com').catch(reason);
  seen.interfaces = Object.keys(os.networkInterfaces());
  assert(os.networkInterfaces().lo.some(({ address }) => address === '127.0.0.1'));
  console.log(JSON.stringify(seen));
})();
