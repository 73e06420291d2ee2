// What node brings along: cryptography, compression, files and their watchers, WebAssembly, the state of the process.

const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const { pipeline } = require('stream/promises');
const { promisify } = require('util');

// (module (memory 1) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
const module_ = Buffer.from('AGFzbQEAAAABBwFgAn9/AX8DAgEABQMBAAEHBwEDYWRkAAAKCQEHACAAIAFqCw==', 'base64');

(async () => {
  const seen = {};
  seen.hash = crypto.createHash('sha256').update('abc').digest('hex').slice(0, 16);
  seen.scrypt = (await promisify(crypto.scrypt)('password', 'NaCl', 64, { N: 1024, r: 8, p: 16 })).toString('hex').slice(0, 16);
  seen.derived = (await promisify(crypto.pbkdf2)('password', 'salt', 4096, 20, 'sha1')).toString('hex');
  const { publicKey, privateKey } = await promisify(crypto.generateKeyPair)('ec', { namedCurve: 'P-256' });
  seen.signed = crypto.verify('sha256', Buffer.from('x'), publicKey, crypto.sign('sha256', Buffer.from('x'), privateKey));
  const key = await crypto.webcrypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt', 'decrypt']);
  const iv = crypto.randomBytes(12);
  const sealed = await crypto.webcrypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, Buffer.from('secret'));
  seen.opened = Buffer.from(await crypto.webcrypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, sealed)).toString();
  seen.uuid = crypto.randomUUID().length;

  const plain = Buffer.alloc(1 << 20, 'abcdefg');
  for (const kind of ['gzip', 'deflate', 'brotliCompress']) {
    const packed = await promisify(zlib[kind])(plain);
    const unpack = { gzip: 'gunzip', deflate: 'inflate', brotliCompress: 'brotliDecompress' }[kind];
    seen[kind] = packed.length < 10000 && (await promisify(zlib[unpack])(packed)).equals(plain);
  }

  const directory = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'corpus-'));
  const file = path.join(directory, 'file');
  const changed = new Promise((resolve) => {
    const watcher = fs.watch(directory, (_, name) => {
      watcher.close();
      resolve(name);
    });
  });
  await fs.promises.writeFile(file, plain);
  seen.watched = await changed;
  await pipeline(fs.createReadStream(file), zlib.createGzip(), fs.createWriteStream(`${file}.gz`));
  await pipeline(fs.createReadStream(`${file}.gz`), zlib.createGunzip(), fs.createWriteStream('copy'));
  seen.piped = (await fs.promises.readFile('copy')).equals(plain);
  await fs.promises.copyFile(file, `${file}.2`);
  await fs.promises.rename(`${file}.2`, `${file}.3`);
  await fs.promises.symlink('file', `${file}.link`);
  seen.listed = (await fs.promises.readdir(directory)).sort();
  seen.size = (await fs.promises.stat(`${file}.link`)).size;
  await fs.promises.rm(directory, { recursive: true });
  seen.removed = await fs.promises.access(directory).catch((error) => error.code);

  const { instance } = await WebAssembly.instantiate(module_);
  seen.wasm = instance.exports.add(40, 2);
  seen.memory = new WebAssembly.Memory({ initial: 1, maximum: 100 }).grow(9);
  seen.intl = new Intl.DateTimeFormat('de-DE', { timeZone: 'Asia/Tokyo', dateStyle: 'long' }).format(new Date(0));
  seen.regexp = 'Łódź'.replace(/\p{Lu}/u, 'l');
  seen.big = String(2n ** 100n);

  const usage = process.memoryUsage();
  seen.process = usage.rss > 1e6 && usage.heapUsed > 1e5 && process.cpuUsage().user > 0 && process.resourceUsage().maxRSS > 1000;
  seen.machine = os.cpus().length > 0 && os.totalmem() > 0 && os.freemem() > 0 && os.uptime() > 0 && os.loadavg().length === 3;
  seen.user = [os.userInfo().uid, os.hostname(), os.homedir()];
  const began = process.hrtime.bigint();
  await new Promise((resolve) => setTimeout(resolve, 20));
  seen.slept = process.hrtime.bigint() - began > 15000000n;
  let garbage = [];
  for (let i = 0; i < 200; i++) garbage = [Buffer.alloc(1 << 20, i), garbage[0]];
  seen.collected = garbage.length;
  console.log(JSON.stringify(seen));
})();
