// The JavaScript runner: boots inside a sandbox, runs one job, and says on a private pipe what came of it.
//
// The frames it speaks are described in channel.md. It runs one program, once, and its sandbox dies with it.
//
// It must never run anything of a job before `ready`, write to the program's stdout, or read its stdin. User code may
// replace whatever it can reach (JSON.stringify, process.exit, prototypes), so what is used after it is captured here,
// at boot, and frames are put together as text. That keeps honest programs from breaking their own result; it does not
// protect against hostile ones, which share this process and can forge any frame. The daemon treats every frame as a
// claim.
//
// Crashes are node's to report: an error that ends the run is left to node, which prints it with its source line and
// exits with 1. This file only listens in, to send the error frame and to take its own frames out of the stack.
//
// `memory_bytes` is not used: V8 fixes the size of its heap at boot and ignores --max-old-space-size afterwards; why it
// is not set at boot is told in docs/performance.md.
//
// It is one long file because a sandbox mounts one file, and every file that is loaded delays the boot.
'use strict';

const fs = require('fs');
const path = require('path');
const Module = require('module');
const { compileFunction } = require('vm');
const { pathToFileURL } = require('url');
const { inspect, types } = require('util');

const { parse, stringify } = JSON;
const { now } = Date;
const { from: bytesOf, alloc, byteLength } = Buffer;
const { isArray, prototype: ordinaryArray } = Array;
const { getPrototypeOf, keys, prototype: ordinaryObject } = Object;
const exit = process.exit.bind(process);
const removeAllListeners = process.removeAllListeners.bind(process);
const listenerCount = process.listenerCount.bind(process);
const reject = Promise.reject.bind(Promise);
const kill = process.kill.bind(process);
const reallyExit = process.reallyExit.bind(process);
const activeResources = process.getActiveResourcesInfo?.bind(process);
const sleepCell = new Int32Array(new SharedArrayBuffer(4));
const pause = Atomics.wait.bind(Atomics, sleepCell, 0, 0, 1);
const uncurry = (method) => Function.prototype.call.bind(method);
const includes = uncurry(String.prototype.includes);
const startsWith = uncurry(String.prototype.startsWith);
const replace = uncurry(String.prototype.replace);
const split = uncurry(String.prototype.split);
const endsWith = uncurry(String.prototype.endsWith);
const join = uncurry(Array.prototype.join);
const every = uncurry(Array.prototype.every);
const some = uncurry(Array.prototype.some);
const includesItem = uncurry(Array.prototype.includes);
const slice = uncurry(Array.prototype.slice);

const HOW_TO_DEFINE = 'define a function handler(event) or handler(event, context), or export one with that name';

let reportFd;
let reportPipe;
let reported = false; // at most one frame says how the run ended
let mayRest = false; // a handler's value was sent, and the daemon knows what follows
const moduleCache = Module._cache;
let unfinished = null; // the sentence that is true if the event loop runs dry now

// The two ends of the channel ----------------------------------------------------------------------------------------

// Node cannot mark a descriptor close-on-exec, but whatever it opens itself is.
function reopen(fd, flags) {
  const own = fs.openSync(`/proc/self/fd/${fd}`, flags);
  fs.closeSync(fd);
  return own;
}

const { writeSync, readSync, readlinkSync } = fs;

function writeAll(fd, data) {
  for (let done = 0; done < data.length; ) {
    try {
      done += writeSync(fd, data, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      pause(); // stderr does not block once the program has used it
    }
  }
}

function send(text) {
  const frame = bytesOf(`\0\0\0\0${text}`);
  frame.writeUInt32BE(frame.length - 4);
  try {
    writeAll(reportFd, frame);
    return true;
  } catch {
    return false; // the program closed the pipe; the daemon sees how the process ends
  }
}

function report(text) {
  if (!reported) send(text);
  reported = true;
}

function readExactly(fd, size) {
  const buffer = alloc(size);
  for (let done = 0; done < size; ) {
    const count = readSync(fd, buffer, done, size - done);
    if (count === 0) exit(0); // the daemon has no job for this sandbox any more
    done += count;
  }
  return buffer;
}

function say(sentence) {
  try {
    writeAll(2, bytesOf(`${sentence}\n`));
  } catch {
    // The program closed its stderr.
  }
}

function refuse(kind, sentence) {
  say(sentence);
  report(`{"type":"error","kind":"${kind}"}`);
  exit(1);
}

// Before the program -------------------------------------------------------------------------------------------------

function writeInputFile({ path: name, content, encoding }) {
  try {
    try {
      fs.mkdirSync(path.dirname(name), { recursive: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error; // a parent is a file; opening says so better: "not a directory"
    }
    // A FIFO that an earlier run left here must fail, not block for ever: O_NONBLOCK.
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK } = fs.constants;
    const fd = fs.openSync(name, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0o666);
    writeAll(fd, bytesOf(content, encoding === 'base64' ? 'base64' : 'utf8'));
    fs.closeSync(fd);
  } catch (error) {
    refuse('input', `cannot write input file '${name}': ${reasonOf(error)}`);
  }
}

// "ENOTDIR: not a directory, open 'a/b'" → "not a directory"
function reasonOf(error) {
  return /^[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] ?? error.message;
}

// The code does not lie in the workspace, yet it must find the files beside which its author thinks it lies. `require`
// can be told so; `import`, `__dirname` and a second process that runs the same file cannot: for them links stand in
// for the neighbours. What is linked first wins. A link costs a system call, so only programs that may need them get
// them.
const MAY_NEED_NEIGHBOURS = /\bimport\b|__dirname|__filename|\bargv\b|\bcluster\b/;

function linkNeighbours(folder, into) {
  let names = [];
  try {
    names = fs.readdirSync(folder);
  } catch {
    return; // no such folder: nothing to link
  }
  for (const name of names) {
    if (into.endsWith('node_modules') && name.startsWith('@')) {
      fs.mkdirSync(path.join(into, name), { recursive: true });
      linkNeighbours(path.join(folder, name), path.join(into, name));
    } else {
      try {
        fs.symlinkSync(path.join(folder, name), path.join(into, name));
      } catch {
        // Taken by the code itself or by an earlier folder, or the folder for code is full.
      }
    }
  }
}

function linkWorkspace(codeDir, code) {
  if (!MAY_NEED_NEIGHBOURS.test(code)) return;
  const packages = path.join(codeDir, 'node_modules');
  const roots = ['node_modules', ...nodePath].map((root) => path.resolve(root)).filter(fs.existsSync);
  if (roots.length === 1) {
    fs.symlinkSync(roots[0], packages);
  } else if (roots.length > 1) {
    fs.mkdirSync(packages);
    for (const root of roots) linkNeighbours(root, packages);
  }
  linkNeighbours(process.cwd(), codeDir);
}

// The program --------------------------------------------------------------------------------------------------------

const COMMONJS_NAMES = ['exports', 'require', 'module', '__filename', '__dirname'];
const ONLY_IN_ES_MODULES = new RegExp(
  "import statement outside a module|'import\\.meta' outside a module|Unexpected token 'export'|await is only valid|" +
    `Unexpected reserved word|Identifier '(?:${COMMONJS_NAMES.join('|')})' has already been declared`,
);
// Its value is what the module's function returns: the program's own binding, which is not visible from outside.
const RETURN_HANDLER = "\n;return typeof handler === 'undefined' ? undefined : handler;";
const DECLARES_HANDLER = /^(?:(?:async\s+)?function\b\s*\*?|const|let|var|class)\s+handler\b/m;
const EXPORT_HANDLER = "\n;export const __sandbox_handler = typeof handler === 'undefined' ? undefined : handler;\n";

// The error that node has for this source as CommonJS, without our last line; undefined if it compiles.
function syntaxErrorIn(source, filename) {
  try {
    compileFunction(source, COMMONJS_NAMES, { filename });
  } catch (error) {
    return error;
  }
}

function save(filename, text) {
  // 'x': a link to a neighbour of that name must not be written through.
  if (fs.existsSync(filename)) fs.unlinkSync(filename);
  fs.writeFileSync(filename, text, { flag: 'wx' });
}

function writeProgram(filename, text) {
  try {
    save(filename, text);
  } catch (error) {
    refuse('input', `cannot write the program to ${filename}: ${reasonOf(error)}`);
  }
}

// `folder` is what require('./x') and require('package') start from.
function moduleIn(folder) {
  return Object.assign(new Module('.', null), {
    filename: path.join(folder, 'main.js'),
    paths: Module._nodeModulePaths(folder),
  });
}

// In brackets: V8 compiles such functions at once, and these are not rehearsed.
const runProgram = (function runProgram(job, codeDir) {
  const source = job.code.charCodeAt(0) === 0xfeff ? job.code.slice(1) : job.code;
  const filename = path.join(codeDir, 'main.js');
  writeProgram(filename, job.code);
  linkWorkspace(codeDir, job.code);
  send('{"type":"started"}');

  const error = syntaxErrorIn(source, filename);
  if (error && ONLY_IN_ES_MODULES.test(error.message)) return runEsModule(job, codeDir);
  if (error) return fail(error);

  const main = moduleIn(process.cwd());
  // Under a handler `require.main === module` is false, as where functions are loaded by their platform.
  const stranger = Object.assign(new Module('.', null), { filename: main.filename });
  process.mainModule = job.mode === 'handler' ? stranger : main;
  process.argv = [process.execPath, filename];
  if (job.mode === 'handler') unfinished = 'the program ended before its handler could be called';

  // No catch around this: an error of the program must reach node untouched, or node shows the wrong source line.
  const local = main._compile(source + RETURN_HANDLER, filename, 'commonjs');
  main.loaded = true;
  const exported = main.exports?.handler;
  callHandler(job, typeof exported === 'function' || local === undefined ? exported : local);
});

async function runEsModule(job, codeDir) {
  const filename = path.join(codeDir, 'main.mjs');
  const hidden = DECLARES_HANDLER.test(job.code) && !/^export\b.*\bhandler\b/m.test(job.code);
  writeProgram(filename, hidden ? job.code + EXPORT_HANDLER : job.code);
  process.argv = [process.execPath, filename];
  process.mainModule = undefined;
  unfinished = 'an await at the top level of the program never settled';
  let exported;
  try {
    exported = await import(pathToFileURL(filename).href);
  } catch (error) {
    return fail(error);
  }
  const fallback = typeof exported.default === 'function' ? exported.default : exported.default?.handler;
  callHandler(job, exported.handler ?? exported.__sandbox_handler ?? fallback);
}

const callHandler = (async function callHandler(job, handler) {
  unfinished = null;
  if (job.mode === 'script' || (job.mode === 'auto' && typeof handler !== 'function')) return;
  if (handler === undefined || handler === null) {
    return refuse('no_handler', `no handler: ${HOW_TO_DEFINE}, or send "mode": "script"`);
  }
  if (typeof handler !== 'function') {
    return refuse('no_handler', `handler is not a function, it is ${aType(handler)}: ${HOW_TO_DEFINE}`);
  }
  const context = new Context(job.execution_id, job.deadline_ms);
  unfinished = 'the promise returned by handler never settled';
  try {
    const value = await (handler.length >= 3 ? callBack(handler, job.event, context) : handler(job.event, context));
    const json = toJson(value, job.max_result_bytes);
    if (json === undefined) return;
    report(`{"type":"result","value":${json}}`);
  } catch (error) {
    return fail(error);
  }
  mayRest = job.may_rest === true;
  // Without listeners there is nothing that process.exit would do before it comes there.
  if (listenerCount('exit') === 0) rest(process.exitCode);
  exit();
});

// Says that only the end is left, and stops. Comes back where more is left, and where nobody hears it.
function rest(code) {
  if (mayRest && canRest() && send(`{"type":"exit","code":${code & 255}}`)) kill(process.pid, 'SIGSTOP');
}

// What node calls last, when a process exits.
function restOrExit(code) {
  rest(code);
  reallyExit(code);
}

// Whether nothing but memory would be ended: no work of other threads, no code of add-ons, no trace that is still to be written.
const NOTHING_TO_END = ['Timeout', 'Immediate', 'PipeWrap'];

function canRest() {
  try {
    const ends = (name) => endsWith(name, '.node');
    return (
      whichFile(reportFd) === reportPipe &&
      every(activeResources(), (name) => includesItem(NOTHING_TO_END, name)) &&
      !some(keys(moduleCache), ends) &&
      !includesItem(process.moduleLoadList, 'NativeModule trace_events')
    );
  } catch {
    return false;
  }
}

function whichFile(fd) {
  return readlinkSync(`/proc/self/fd/${fd}`);
}

function callBack(handler, event, context) {
  unfinished = 'handler(event, context, callback) never called back';
  return new Promise((resolve, rejectWith) => {
    const value = handler(event, context, (error, result) => (error ? rejectWith(error) : resolve(result)));
    if (typeof value?.then === 'function') value.then(resolve, rejectWith);
  });
}

class Context {
  constructor(executionId, deadlineMs) {
    this.execution_id = this.executionId = executionId;
    this.deadline_ms = this.deadlineMs = deadlineMs;
  }

  get_remaining_time_in_millis() {
    return Math.max(0, this.deadline_ms - now());
  }

  getRemainingTimeInMillis() {
    return Math.max(0, this.deadline_ms - now());
  }
}

// What it returned ---------------------------------------------------------------------------------------------------

const SILENTLY_EMPTY = ['Map', 'Set', 'WeakMap', 'WeakSet', 'Promise', 'GeneratorObject'];

// What JSON.stringify would drop or turn into {} without a word.
function notJson(value) {
  if (typeof value !== 'object') return typeof value === 'undefined' ? null : aType(value);
  const prototype = getPrototypeOf(value);
  if (prototype === ordinaryObject || prototype === ordinaryArray) return null;
  for (let i = 0; i < SILENTLY_EMPTY.length; i++) {
    if (types[`is${SILENTLY_EMPTY[i]}`](value)) return aType(value);
  }
  return null;
}

function aType(value) {
  if (value === null) return 'null';
  let name = typeof value === 'bigint' ? 'BigInt' : typeof value;
  for (let i = 0; i < SILENTLY_EMPTY.length && name === 'object'; i++) {
    if (types[`is${SILENTLY_EMPTY[i]}`](value)) name = SILENTLY_EMPTY[i];
  }
  return `${name === 'object' ? 'an' : 'a'} ${name}`;
}

// The JSON text of what the handler returned, or undefined once it has been refused.
function toJson(value, maxBytes) {
  const holders = []; // the objects that JSON.stringify is inside of, and the key that led to each
  const keys = [];
  let depth = 0;
  let problem = null;
  const where = () => {
    let text = 'value';
    for (let i = 2; i < depth && i < 22; i++) text += `[${isArray(holders[i - 1]) ? keys[i] : stringify(keys[i])}]`;
    return depth > 22 ? `${text}[…]` : text;
  };
  const checked = function (key, item) {
    if (typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean' || item === null) return item;
    while (depth > 0 && holders[depth - 1] !== this) depth--;
    if (depth === 0) {
      holders[0] = this;
      depth = 1;
    }
    const bad = notJson(item);
    if (bad === null && item === undefined) return item;
    keys[depth] = key;
    holders[depth++] = item;
    if (bad === null) return item;
    problem = `is ${bad}`;
    throw problem;
  };
  let text;
  try {
    text = stringify(value, checked) ?? 'null';
  } catch (error) {
    if (problem === null && error instanceof TypeError && startsWith(error.message, 'Converting circular')) {
      problem = 'refers to itself';
    } else if (problem === null && error instanceof RangeError && startsWith(error.message, 'Maximum call stack')) {
      depth = 0;
      problem = 'is nested too deeply';
    } else if (problem === null) {
      throw error; // from a toJSON, a getter or a proxy of the program
    }
    return refuse('result', `return value is not JSON: ${where()} ${problem}`);
  }
  // JSON.stringify escapes lone surrogates, which are not Unicode text.
  const surrogate = /\\(?:\\|ud[89a-f][0-9a-f]{2})/g; // or an escaped backslash, which may stand before "ud800" itself
  if (includes(text, '\\ud')) text = replace(text, surrogate, (found) => (found === '\\\\' ? found : '\ufffd'));
  const size = byteLength(text);
  if (size <= maxBytes) return text;
  return refuse('result', `return value is too large: ${size} bytes as JSON, at most ${maxBytes} are kept`);
}

// What went wrong ----------------------------------------------------------------------------------------------------

// Hands an error to node as one that nobody handles. Listeners of the program are for its own loose ends.
function fail(error) {
  unfinished = 'the program failed, and swallowed the error';
  removeAllListeners('unhandledRejection');
  removeAllListeners('uncaughtException');
  if (types.isNativeError(error)) return reject(error);
  say(`Uncaught ${inspect(error)}`);
  report('{"type":"error","kind":"exception"}');
  exit(1);
}

// The limit, if the error is how one shows itself inside the sandbox; undefined otherwise.
function limitBehind(error) {
  if (error.code === 'ENOMEM') return 'memory';
  if (error.code === 'EFBIG') return 'file_size';
  if (error.code === 'ERR_WORKER_INIT_FAILED') return 'processes';
  if (error.code === 'EAGAIN' && startsWith(`${error.syscall}`, 'spawn')) return 'processes';
  if (error instanceof RangeError && error.message === 'Array buffer allocation failed') return 'memory';
}

// User code is entered from this file: the first frame of it and all below are the runner's own business, and so are
// the frames of node in between.
function withoutRunner(stack) {
  const lines = split(stack, '\n');
  let end = 0;
  while (end < lines.length && !includes(lines[end], __filename)) end++;
  if (end === lines.length) return stack;
  // One frame stays in any case: node prints an error that has none in brackets.
  const isNodes = (line) => includes(line, 'node:') || includes(line, '(<anonymous>)');
  while (end > 1 && isNodes(lines[end - 1]) && startsWith(lines[end - 2], '    at ')) end--;
  return join(slice(lines, 0, end), '\n');
}

function onCrash(error) {
  if (listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback()) return;
  let limit;
  try {
    limit = limitBehind(error);
    for (let cause = error, i = 0; types.isNativeError(cause) && i < 10; cause = cause.cause, i++) {
      const stack = withoutRunner(cause.stack);
      if (stack !== cause.stack) cause.stack = stack;
    }
  } catch {
    // Not an object, frozen, or with getters of its own: node prints it as it is.
  }
  report(`{"type":"error","kind":"exception"${limit ? `,"limit":"${limit}"` : ''}}`);
}

// ---------------------------------------------------------------------------------------------------------------------

// Goes the way of a job once, with a program that does nothing: what V8 compiles when it is first called is compiled then, and nobody
// waits for that. Leaves nothing behind.
function rehearse(codeDir) {
  const { code, event } = parse(bytesOf('{"code":"exports.handler = (event) => event","event":{}}').toString());
  const filename = path.join(codeDir, 'main.js');
  try {
    save(filename, code);
    fs.unlinkSync(filename);
  } catch {
    // The job's own is the one that counts.
  }
  linkWorkspace(codeDir, code);
  syntaxErrorIn(code, filename);
  const main = moduleIn(process.cwd());
  main._compile(code + RETURN_HANDLER, filename, 'commonjs');
  toJson(main.exports.handler(event, new Context('', 0)), 2);
  canRest();
}

// Node writes to a pipe in the background, and process.exit would cut the rest off.
function blockWhenWriting(name) {
  const { get } = Object.getOwnPropertyDescriptor(process, name);
  let stream;
  const getter = () => {
    if (stream === undefined) {
      stream = get.call(process);
      stream._handle?.setBlocking?.(true);
    }
    return stream;
  };
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get: getter });
}

const nodePath = (process.env.NODE_PATH ?? '').split(':').filter(Boolean);
const codeDir = process.env.SANDBOX_CODE_DIR ?? '/code';
delete process.env.SANDBOX_CODE_DIR;
const jobFd = reopen(+process.argv[2], 'r');
reportFd = reopen(+process.argv[3], 'w');
reportPipe = whichFile(reportFd);
process.reallyExit = restOrExit;
process.on('uncaughtExceptionMonitor', onCrash);
process.on('beforeExit', () => unfinished !== null && refuse('exception', unfinished));
blockWhenWriting('stdout');
blockWhenWriting('stderr');
rehearse(codeDir);
send('{"type":"ready"}');

const job = parse(readExactly(jobFd, readExactly(jobFd, 4).readUInt32BE()).toString());
fs.closeSync(jobFd);
for (const name of Object.keys(job.env)) process.env[name] = job.env[name];
job.files.forEach(writeInputFile);
runProgram(job, codeDir);
