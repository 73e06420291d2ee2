// Other programs, other nodes and other threads.

const { execFile, exec, fork, spawn, spawnSync, execSync } = require('child_process');
const fs = require('fs');
const { promisify } = require('util');
const { Worker, MessageChannel, receiveMessageOnPort } = require('worker_threads');

const text = async (stream) => {
  let all = '';
  for await (const part of stream.setEncoding('utf8')) all += part;
  return all;
};
const ended = (child) => new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)));

(async () => {
  const seen = {};
  const sort = spawn('sort', ['-n']);
  const sorted = text(sort.stdout);
  sort.stdin.end('10\n9\n1\n');
  seen.spawn = [await sorted, await ended(sort)];
  const shell = await promisify(exec)('echo $A | tr a-z A-Z; echo oops >&2', { env: { ...process.env, A: 'abc' } });
  seen.exec = [shell.stdout, shell.stderr];
  seen.failed = (await promisify(execFile)('sh', ['-c', 'exit 4']).catch((error) => error)).code;
  seen.missing = spawnSync('no-such-program').error.code;
  const sleeper = spawn('sleep', ['600']);
  sleeper.kill();
  seen.killed = await ended(sleeper);
  seen.sync = execSync('seq 100000').length;
  seen.node = execSync(`${JSON.stringify(process.execPath)} -p 6*7`).toString().trim();

  fs.writeFileSync('child.js', `process.on('message', (n) => { process.send(n * 2); if (n === 3) process.disconnect(); });`);
  const child = fork('./child.js');
  seen.fork = [];
  child.on('message', (doubled) => seen.fork.push(doubled));
  for (const n of [1, 2, 3]) child.send(n);
  seen.forked = await ended(child);

  const code = `
    const { parentPort, workerData } = require('worker_threads');
    const cells = new Int32Array(workerData);
    for (let i = 0; i < 10000; i++) Atomics.add(cells, 0, 1);
    Atomics.add(cells, 1, 1);
    Atomics.notify(cells, 1);
    parentPort.postMessage(Atomics.wait(cells, 2, 0, 60000));`;
  const shared = new SharedArrayBuffer(12);
  const cells = new Int32Array(shared);
  const workers = Array.from({ length: 4 }, () => new Worker(code, { eval: true, workerData: shared }));
  const woken = workers.map((worker) => new Promise((resolve) => worker.on('message', resolve)));
  const gone = workers.map((worker) => new Promise((resolve) => worker.on('exit', resolve)));
  while (Atomics.load(cells, 1) < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  Atomics.store(cells, 2, 1);
  Atomics.notify(cells, 2);
  seen.woken = (await Promise.all(woken)).every((how) => how === 'ok' || how === 'not-equal');
  seen.counted = cells[0];
  seen.gone = await Promise.all(gone);
  const thrown = new Worker('throw new RangeError("here")', { eval: true });
  seen.thrown = await new Promise((resolve) => thrown.on('error', (error) => resolve(error.message)));
  const endless = new Worker('for (;;);', { eval: true });
  await new Promise((resolve) => endless.on('online', resolve));
  seen.terminated = await endless.terminate();
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(new Map([['a', 1n]]));
  seen.message = Number(receiveMessageOnPort(port2).message.get('a'));
  port1.close();

  // Waiting for a signal alone does not keep node going.
  const going = setInterval(() => {}, 1000);
  seen.signal = await new Promise((resolve) => {
    process.once('SIGUSR2', resolve);
    process.kill(process.pid, 'SIGUSR2');
  });
  clearInterval(going);
  console.log(JSON.stringify(seen));
})();
