/**
 * Talk to actors from a web page: calls, contexts and streams over one WebSocket. No dependencies.
 *
 *     import { connect } from "./tractor.js";
 *
 *     const t = await connect("ws://127.0.0.1:8080", { token });
 *     console.log(await t.call("service:price", { symbol: "ABC" }));
 *
 *     const ctx = await t.openContext("service:watch", { symbol: "ABC" });
 *     for await (const price of ctx.stream) draw(price);
 *     await ctx.cancel();
 *
 * A page is a *client*: it proves a token, and may start what the service marks with
 * `@expose(clients=True)`. The protocol is the one of docs/reference/wire.rst, in JSON; what is public here is
 * declared in tractor.d.ts and explained in docs/how-to/browsers.rst.
 *
 * From the bottom up: messages, errors, flow control, the dialog machine, streams, contexts, what is sent and
 * received in pieces, the handshake, the connection, reconnecting.
 */

// -- messages ------------------------------------------------------------------------------------------------

const PROTOCOL = "tractor-core/1";
const SUBPROTOCOL = "tractor-core.json.v1";

const HELLO = 1;
const AUTH = 2;
const START = 5;
const START_ACK = 6;
const STARTED = 7;
const YIELD = 8;
const RETURN = 9;
const STOP = 10;
const ERROR = 11;
const CANCEL = 12;
const CANCEL_ACK = 13;
const CREDIT = 14;
const OPEN = 15;
const CHUNK = 16;
const PING = 17;
const PONG = 18;

/** Containers inside a value may be nested this deep. */
const MAX_DEPTH = 200;

const isCount = (value) => Number.isSafeInteger(value);
const isText = (value) => typeof value === "string";
const isFlag = (value) => typeof value === "boolean";
const isAnything = () => true;
const isBoxed = (value) => Array.isArray(value) && value.slice(0, 3).every(isText) && value.length >= 3;

/** The fields that a message must have, by its tag: those that reach a client. Further ones are ignored. */
const FIELDS = {
  [HELLO]: [Array.isArray, isText, Array.isArray, isText],
  [AUTH]: [isText],
  [START]: [isCount],
  [START_ACK]: [isCount, isText],
  [STARTED]: [isCount, isAnything],
  [YIELD]: [isCount, isAnything],
  [RETURN]: [isCount, isAnything],
  [STOP]: [isCount],
  [ERROR]: [isCount, isBoxed],
  [CANCEL]: [isCount],
  [CANCEL_ACK]: [isCount],
  [CREDIT]: [isCount, isCount, isCount],
  [OPEN]: [isCount, isCount, isCount, isText],
  [CHUNK]: [isCount, isFlag, isText],
  [PING]: [isCount],
  [PONG]: [isCount],
};

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true });

/** A frame's message; what is none throws. */
function decodeFrame(text) {
  const message = JSON.parse(text);
  const fields = Array.isArray(message) ? FIELDS[message[0]] : undefined;
  if (fields === undefined || message.length <= fields.length || !fields.every((fits, i) => fits(message[i + 1]))) {
    throw new SyntaxError(`not a message: ${text.slice(0, 80)}`);
  }
  return message;
}

/**
 * JSON of what a user gave. TypeError for what has none, which names its path, RangeError for what is nested too
 * deep. As in any JSON, `undefined` and what is not finite become null; a key whose value is `undefined` goes.
 */
function encodeValue(value) {
  const text = JSON.stringify(value, checker()) ?? "null";
  if (text.length > MAX_DEPTH && depthOf(text) > MAX_DEPTH) {
    throw new RangeError(`a value nested more than ${MAX_DEPTH} levels deep cannot be sent`);
  }
  return text;
}

/** What cannot be sent, by its type. JSON would leave functions and symbols out without a word. */
const UNSENDABLE = { bigint: "a BigInt", function: "a function", symbol: "a symbol" };
const HALF = "text with half of a surrogate pair";

/** A replacer that refuses what an actor could not be told, and makes text of bytes. */
function checker() {
  const holders = []; // the containers around what is looked at, and
  const keys = []; // where in each
  const refuse = (what) => {
    // The outermost was made by JSON.stringify().
    const path = holders.slice(1).map((holder, i) => step(holder, keys[i + 1]));
    throw new TypeError(`$${path.join("")}: ${what} cannot be sent`);
  };
  return function check(key, part) {
    while (holders.length > 0 && holders.at(-1) !== this) holders.pop();
    if (holders.length === 0) holders.push(this);
    keys[holders.length - 1] = key;
    const kind = typeof part;
    if (kind in UNSENDABLE) refuse(UNSENDABLE[kind]);
    if (part !== undefined && !isWhole(key)) refuse(`a key of ${HALF}`);
    if (kind === "string" || part instanceof String) {
      if (!isWhole(String(part))) refuse(HALF);
    } else if (part instanceof Uint8Array) {
      return toBase64(part);
    } else if (kind === "object" && part !== null) {
      holders.push(part);
    }
    return part;
  };
}

/** One step of a path: `[0]`, `.key`, or the key in quotes where it would not read as a name. */
function step(holder, key) {
  if (Array.isArray(holder)) return `[${key}]`;
  return /^[\p{L}_][\p{L}\p{N}_]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** Whether text has no half of a surrogate pair (as `slice()` leaves one of an emoji): UTF-8 has no such thing. */
function isWhole(text) {
  return text.isWellFormed ? text.isWellFormed() : !/\p{Surrogate}/u.test(text);
}

/** The fields of a Start after its number, in JSON; TypeError where one is not what it must be. */
function encodeStart(target, functype, args, kwargs) {
  if (!isText(target)) throw new TypeError(`a target is text, "module:function", not ${describeKind(target)}`);
  const [positional, named] = [encodeValue(args), encodeValue(kwargs)];
  if (positional[0] !== "[") throw new TypeError(`args is an array, not ${describeKind(args)}`);
  if (named[0] !== "{") throw new TypeError(`arguments by name are an object, not ${describeKind(kwargs)}`);
  return `${encodeValue(target)},"${functype}",${positional},${named}`;
}

function describeKind(value) {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `a value of type ${typeof value}`;
}

function depthOf(text) {
  let depth = 0;
  let deepest = 0;
  for (const [part] of text.matchAll(/[[{}\]]|"(?:[^"\\]|\\.)*"/g)) {
    if (part === "[" || part === "{") deepest = Math.max(deepest, ++depth);
    else if (part === "]" || part === "}") depth -= 1;
  }
  return deepest;
}

/** Bytes of the payload in a frame `[tag,cid,payload,…]`, as it stands there: what flow control counts. */
function payloadSize(text, message) {
  const start = text.indexOf(",", text.indexOf(",") + 1) + 1;
  const end = message.length === 3 ? text.lastIndexOf("]") : endOfValue(text, start);
  return byteLength(text.slice(start, end).trim());
}

/** Where the element that starts at `start` ends: at the next comma that is not inside of it. */
function endOfValue(text, start) {
  const token = /[[{}\],]|"(?:[^"\\]|\\.)*"/g;
  token.lastIndex = start;
  for (let depth = 0, match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[0] === "[" || match[0] === "{") depth += 1;
    else if (match[0] === "]" || match[0] === "}") depth -= 1;
    else if (match[0] === "," && depth === 0) return match.index;
  }
  return text.lastIndexOf("]");
}

const byteLength = (text) => utf8.encode(text).length;

/** Bytes as JSON carries them: base64 text. */
export function toBase64(bytes) {
  let characters = "";
  // Piecewise: a function takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 0x2000) characters += String.fromCharCode(...bytes.subarray(at, at + 0x2000));
  return btoa(characters);
}

/** The bytes that an actor sent as `bytes`. */
export function fromBase64(text) {
  // The browser's own is faster, where it has one.
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// -- errors --------------------------------------------------------------------------------------------------

/** Base of what this module throws, misuse aside (TypeError, RangeError). */
export class TractorError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The path to the actor is gone; whatever was under way ends with this. */
export class TransportClosed extends TractorError {}

/** One side did not prove that it holds the token; the message says which one refused. */
export class AuthenticationFailed extends TractorError {}

/** The actor has no such function, or none for clients. */
export class ModuleNotExposed extends TractorError {}

/** Clients may not end the actor. */
export class CancelRefused extends TractorError {}

/** A cancel request was not acknowledged in time. */
export class ActorTooSlowError extends TractorError {}

/** A message larger than `limit` bytes; nothing was sent. */
export class MsgTooLarge extends TractorError {
  constructor(size, limit) {
    super(`a message of ${size} bytes is over the limit of ${limit}`);
    this.size = size;
    this.limit = limit;
  }
}

/** An error raised in an actor. */
export class RemoteActorError extends TractorError {
  constructor(message, boxed = []) {
    super(message);
    this.type = boxed[0] ?? "";
    this.sourceType = boxed[2] ?? "";
    this.relayPath = boxed[3] ?? [];
    this.traceback = boxed[4] ?? "";
    this.notes = boxed[5] ?? [];
    this.args = decodeArguments(boxed[6] ?? "");
    this.members = (boxed[7] ?? []).map(unbox);
    if (boxed[8]) this.cause = unbox(boxed[8]);
  }
}

/** A remote task was cancelled; `canceller` is who asked, `[name, uuid]`. */
export class ContextCancelled extends RemoteActorError {
  constructor(message, boxed) {
    super(message, boxed);
    this.canceller = boxed[10] ?? null;
  }
}

/** A value of the wrong type: `bad` stood at `path`, where `expected` should be. */
export class MsgTypeError extends RemoteActorError {
  constructor(message, boxed) {
    super(message, boxed);
    this.path = boxed[11] ?? "";
    this.expected = boxed[12] ?? "";
    this.bad = boxed[13] ?? "";
  }
}

/** The receiver of a stream did not keep up, and does not want to be waited for. */
export class StreamOverrun extends RemoteActorError {}

/** Which class an error becomes, by the kind its sender gave it. */
const KINDS = {
  cancelled: ContextCancelled,
  msgtype: MsgTypeError,
  overrun: StreamOverrun,
  notexposed: ModuleNotExposed,
  auth: AuthenticationFailed,
};

/** The error to throw for a `BoxedError`. */
function unbox(boxed) {
  const kind = Object.hasOwn(KINDS, boxed[9] ?? "") ? KINDS[boxed[9]] : RemoteActorError;
  return kind.prototype instanceof RemoteActorError || kind === RemoteActorError
    ? new kind(boxed[1], boxed)
    : new kind(boxed[1]);
}

/** A `BoxedError` that this side sends. */
function box(error, kind, uid) {
  const type = `tractor_core.errors:${error.name}`;
  return [type, error.message, type, [uid], "", [], "", [], null, kind];
}

/** The arguments of an exception, which come in msgpack; null where they could not be encoded. */
function decodeArguments(text) {
  if (text === "") return null;
  try {
    return new Unpacker(fromBase64(text)).value();
  } catch {
    return null;
  }
}

/** Reads msgpack. Integers that no number holds exactly become a BigInt. */
class Unpacker {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  value() {
    const head = this.unsigned(1);
    if (head < 0x80) return head;
    if (head < 0x90) return this.map(head & 0x0f);
    if (head < 0xa0) return this.array(head & 0x0f);
    if (head < 0xc0) return this.text(head & 0x1f);
    if (head >= 0xe0) return head - 0x100;
    const width = [1, 2, 4, 8];
    if (head === 0xc0) return null;
    if (head === 0xc2 || head === 0xc3) return head === 0xc3;
    if (head >= 0xc4 && head <= 0xc6) return this.blob(this.unsigned(width[head - 0xc4]));
    if (head === 0xca) return this.view.getFloat32(this.skip(4));
    if (head === 0xcb) return this.view.getFloat64(this.skip(8));
    if (head >= 0xcc && head <= 0xcf) return this.unsigned(width[head - 0xcc]);
    if (head >= 0xd0 && head <= 0xd3) return this.signed(width[head - 0xd0]);
    if (head >= 0xd9 && head <= 0xdb) return this.text(this.unsigned(width[head - 0xd9]));
    if (head === 0xdc || head === 0xdd) return this.array(this.unsigned(width[head - 0xdb]));
    if (head === 0xde || head === 0xdf) return this.map(this.unsigned(width[head - 0xdd]));
    throw new SyntaxError(`msgpack type ${head}`);
  }

  skip(size) {
    this.at += size;
    return this.at - size;
  }

  unsigned(width) {
    if (width === 8) return narrowed(this.view.getBigUint64(this.skip(8)));
    return this.view[`getUint${width * 8}`](this.skip(width));
  }

  signed(width) {
    if (width === 8) return narrowed(this.view.getBigInt64(this.skip(8)));
    return this.view[`getInt${width * 8}`](this.skip(width));
  }

  blob(size) {
    if (this.at + size > this.bytes.length) throw new SyntaxError("msgpack cut short");
    return this.bytes.slice(this.at, this.skip(size) + size);
  }

  text(size) {
    return fromUtf8.decode(this.blob(size));
  }

  array(size) {
    const values = [];
    while (values.length < size) values.push(this.value());
    return values;
  }

  map(size) {
    const entries = [];
    while (entries.length < size) entries.push([this.value(), this.value()]);
    return Object.fromEntries(entries);
  }
}

function narrowed(integer) {
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

// -- flow control --------------------------------------------------------------------------------------------

/** Both sides assume this window until the receiver's Open says otherwise: messages, and bytes of payload. */
const DEFAULT_WINDOW = { messages: 64, size: 8 * 1024 * 1024 };
const POLICIES = ["raise", "block", "buffer"];
/** How long a sender waits, under "raise", for the receiver to take something (ms). */
const OVERRUN_GRACE = 250;

const isWindow = ({ messages, size }) => isCount(messages) && messages > 0 && isCount(size) && size > 0;

/** The sender's account of what it may still send. `left.size` is negative after a value that overdrew. */
class SendWindow {
  full = DEFAULT_WINDOW;
  left = { ...DEFAULT_WINDOW };
  /** What the receiver wants done when there is no credit; null until its Open has come. */
  policy = null;
  /** How often the receiver changed this. */
  changes = 0;

  /** Use credit for one payload; false, and nothing used, where there is none. */
  take(size) {
    const { left, full } = this;
    if (left.messages <= 0 || (size > left.size && 2 * left.size <= full.size)) return false;
    add(left, -1, -size);
    return true;
  }

  /** The receiver took that much; false where it never got as much. */
  grant(messages, size) {
    const { left, full } = this;
    if (messages < 0 || messages > full.messages - left.messages) return false;
    if (size < 0 || size > full.size - left.size) return false;
    add(left, messages, size);
    this.changes += 1;
    return true;
  }

  /** The receiver's own window: what is under way stays under way. */
  open(window, policy) {
    add(this.left, window.messages - this.full.messages, window.size - this.full.size);
    this.full = window;
    this.policy = policy;
    this.changes += 1;
  }
}

/** What has arrived and was not yet taken, and the credit owed for what was. */
class ReceiveBuffer {
  values = [];
  window = DEFAULT_WINDOW;
  #first = 0; // of `values`: those before it were taken
  #most = DEFAULT_WINDOW; // under way at once: the sender may not have seen `window` yet
  #unbounded = false;
  #unpaid = { messages: 0, size: 0 };
  #owed = { messages: 0, size: 0 };

  get empty() {
    return this.#first === this.values.length;
  }

  open(window, unbounded) {
    this.#most = {
      messages: Math.max(window.messages, this.window.messages),
      size: Math.max(window.size, this.window.size),
    };
    this.window = window;
    this.#unbounded = unbounded;
    if (unbounded) this.#owed = { ...this.#unpaid };
  }

  /** Keep a value; false where the sender had no credit for it. */
  put(value, size) {
    const left = this.#most.size - this.#unpaid.size;
    if (this.#unpaid.messages >= this.#most.messages || (size > left && 2 * left <= this.#most.size)) return false;
    add(this.#unpaid, 1, size);
    this.values.push({ value, size });
    if (this.#unbounded) add(this.#owed, 1, size);
    return true;
  }

  /** The oldest value; there must be one. */
  take() {
    const { value, size } = this.values[this.#first];
    this.values[this.#first++] = undefined;
    // Now and then: shift() would move all that wait, for each one taken.
    if (this.#first * 2 >= this.values.length) {
      this.values.splice(0, this.#first);
      this.#first = 0;
    }
    if (!this.#unbounded) add(this.#owed, 1, size);
    return value;
  }

  /** The grant to send now, once half a window is owed; else null. */
  credit() {
    const { messages, size } = this.#owed;
    const batch = Math.max(1, Math.floor(this.window.messages / 2));
    if (messages < batch && size * 2 < this.window.size) return null;
    add(this.#unpaid, -messages, -size);
    this.#owed = { messages: 0, size: 0 };
    return [messages, size];
  }
}

function add(account, messages, size) {
  account.messages += messages;
  account.size += size;
}

// -- the dialog machine --------------------------------------------------------------------------------------

const BEFORE = { starting: "starting", acked: "acked" };
const DURING = { running: "running", streaming: "streaming" };
const TO_DONE = { starting: "done", acked: "done", running: "done", streaming: "done" };

/** The opener's table of docs/reference/dialog.rst: what is legal in which state, and where it leads. */
const OPENER = {
  [START_ACK]: { starting: "acked" },
  [STARTED]: { starting: "running", acked: "running" },
  [OPEN]: DURING,
  [YIELD]: DURING,
  [STOP]: DURING,
  [CREDIT]: DURING,
  [CANCEL_ACK]: { ...BEFORE, ...DURING },
  [RETURN]: TO_DONE,
  [ERROR]: TO_DONE,
  // What this side does.
  open: { running: "streaming", done: "done" },
  send: { streaming: "streaming" },
  stop: DURING,
  cancel: { ...BEFORE, ...DURING },
  fail: { ...BEFORE, ...DURING },
  cut: TO_DONE,
};

/** The peer said what is not legal here; its dialog ends. */
class Violation extends Error {}

/** The opener's side of one call, generator or context, without I/O. */
class Dialog {
  state = "starting";
  started = undefined;
  hasStarted = false;
  value = undefined;
  /** What it ended with: the callee's error, or why the path was cut; null where it returned. */
  error = null;
  cancelCalled = false;
  cancelAcked = false;
  stopped = false;
  peerStopped = false;
  opened = false;
  inbox = new ReceiveBuffer();
  sending = new SendWindow();
  /** Messages to be sent. */
  outbox = [];

  constructor(cid, functype) {
    this.cid = cid;
    this.functype = functype;
  }

  get done() {
    return this.state === "done";
  }

  allows(event) {
    return Object.hasOwn(OPENER[event], this.state);
  }

  #move(event) {
    this.state = OPENER[event][this.state];
  }

  // What this side does; each is to be asked for with `allows` first.

  open(window, policy) {
    const over = this.done;
    this.#move("open");
    this.opened = true;
    this.inbox.open(window, policy === "buffer");
    if (over) return;
    this.outbox.push([OPEN, this.cid, window.messages, window.size, policy]);
    this.#grant();
  }

  take() {
    const value = this.inbox.take();
    this.#grant();
    return value;
  }

  stop() {
    if (this.stopped || !this.allows("stop")) return;
    this.stopped = true;
    this.outbox.push([STOP, this.cid]);
  }

  cancel(uid, reason = "") {
    this.cancelCalled = true;
    this.outbox.push([CANCEL, this.cid, uid, reason]);
  }

  fail(boxed) {
    this.stopped = true;
    this.outbox.push([ERROR, this.cid, boxed]);
  }

  cut(error) {
    if (this.done) return;
    this.#move("cut");
    this.error = error;
  }

  #grant() {
    const credit = this.done || this.peerStopped ? null : this.inbox.credit();
    if (credit !== null) this.outbox.push([CREDIT, this.cid, ...credit]);
  }

  // What the peer does. Late messages for a finished dialog are ignored.

  receive(message, size) {
    if (this.done) return;
    const [tag] = message;
    const table = Object.hasOwn(OPENER, tag) ? OPENER[tag] : {};
    if (!Object.hasOwn(table, this.state)) throw new Violation(`message ${tag} while ${this.state}`);
    this.#take(message, size);
    this.#move(tag);
  }

  #take([tag, , ...fields], size) {
    switch (tag) {
      case START_ACK:
        return demand(fields[0] === this.functype, "StartAck of another kind than was asked for");
      case STARTED:
        demand(this.functype !== "asyncfunc", "Started in a call");
        this.hasStarted = true;
        this.started = fields[0];
        return;
      case YIELD:
        demand(!this.peerStopped, "Yield after Stop");
        demand(this.inbox.put(fields[0], size), "more stream values than were granted");
        return this.#grant();
      case STOP:
        demand(!this.peerStopped, "Stop after Stop");
        this.peerStopped = true;
        return;
      case OPEN: {
        const [messages, bytes, policy] = fields;
        demand(this.sending.policy === null, "Open after Open");
        demand(isWindow({ messages, size: bytes }) && POLICIES.includes(policy), "Open with what there is not");
        return this.sending.open({ messages, size: bytes }, policy);
      }
      case CREDIT:
        return demand(this.sending.grant(fields[0], fields[1]), "Credit for what was not sent");
      case CANCEL_ACK:
        demand(this.cancelCalled, "CancelAck without a Cancel");
        this.cancelAcked ||= fields[0] ?? true;
        return;
      case RETURN:
        demand(this.functype === "asyncfunc" || this.hasStarted, "Return before Started");
        this.value = fields[0];
        return;
      case ERROR:
        this.error = unbox(fields[0]);
    }
  }
}

function demand(condition, otherwise) {
  if (!condition) throw new Violation(otherwise);
}

// -- streams -------------------------------------------------------------------------------------------------

/** Makes async functions run one after the other, in the order of the calls. */
function inTurn() {
  let last = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}

/**
 * Values both ways, under a context. It is its own async iterator: leaving a `for await` early leaves it open,
 * and another one goes on from there; `close()` is what ends it.
 */
export class MsgStream {
  #context;
  #dialog;
  #window;
  #sends = inTurn();
  #takes = inTurn();
  #closed = false;

  constructor(context, dialog, window) {
    this.#context = context;
    this.#dialog = dialog;
    this.#window = window;
  }

  get closed() {
    return this.#closed;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** The next value as `{ value, done }`; `done` after the far side's graceful end, or once closed here. */
  next() {
    return this.#takes(() => this.#next());
  }

  async #next() {
    const dialog = this.#dialog;
    this.#open();
    await this.#context._until(() => this.#closed || !dialog.inbox.empty || dialog.peerStopped || dialog.done);
    if (this.#closed) return { value: undefined, done: true };
    this.#context._throwIfAborted();
    if (!dialog.inbox.empty) {
      const value = dialog.take();
      this.#context._flush();
      return { value, done: false };
    }
    this.#context._throwIfFailed();
    return { value: undefined, done: true };
  }

  /** Send a value once there is credit for it, in the order of the calls. It is encoded at once. */
  async send(value) {
    const payload = encodeValue(value);
    const size = byteLength(payload);
    return this.#sends(() => this.#send(payload, size));
  }

  async #send(payload, size) {
    this.#open();
    this.#checkSendable();
    if (!this.#dialog.sending.take(size)) await this.#waitForCredit(size);
    this.#context._post(`[${YIELD},${this.#dialog.cid},${payload}]`);
  }

  #checkSendable() {
    if (this.#closed) throw new TransportClosed("this stream was closed here");
    this.#context._throwIfFailed();
    if (this.#dialog.done) throw new TransportClosed("the remote task has returned");
    if (this.#dialog.stopped) throw new TransportClosed("this stream has ended its sending half");
    if (this.#dialog.functype === "asyncgen") throw new TransportClosed("this stream only receives");
  }

  async #waitForCredit(size) {
    const { sending } = this.#dialog;
    const over = () => this.#closed || this.#dialog.done || this.#dialog.stopped;
    do {
      // The grace starts anew with everything the receiver takes.
      const seen = sending.changes;
      const timeout = sending.policy === "raise" ? OVERRUN_GRACE : Infinity;
      const inTime = await this.#context._until(() => over() || sending.changes !== seen, timeout);
      if (!inTime) throw this.#context._overrun();
      this.#checkSendable();
    } while (!sending.take(size));
  }

  /** Say that nothing more will be sent; values from the far side can still be read. */
  stop() {
    this.#open();
    this.#sends(async () => {
      this.#dialog.stop();
      this.#context._flush();
    });
  }

  /** End this side: the far side's iteration ends, and what still comes is discarded. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#dialog.stop();
    this.#context._discard();
  }

  /** Opened when it is first used: until then the far side may send what the default window allows. */
  #open() {
    const dialog = this.#dialog;
    if (dialog.opened || this.#closed || !dialog.hasStarted) return;
    dialog.open(this.#window.window, this.#window.overflow);
    this.#context._flush();
  }
}

/** What an option of a stream asks for; RangeError for a window under which nothing could be sent. */
function streamOptions({ window = DEFAULT_WINDOW.messages, windowBytes = DEFAULT_WINDOW.size, overflow = "block" }) {
  const asked = { messages: window, size: windowBytes };
  if (!isWindow(asked)) throw new RangeError("window and windowBytes must be whole numbers above zero");
  if (!POLICIES.includes(overflow)) throw new RangeError(`overflow must be one of ${POLICIES.join(", ")}`);
  return { window: asked, overflow };
}

// -- contexts ------------------------------------------------------------------------------------------------

/** How long the acknowledgement of a cancel is waited for (ms). */
const CANCEL_TIMEOUT = 500;

/** A task in an actor and what links it to this page: made by `openContext()`. */
export class Context {
  /** The values both ways. */
  stream;
  /**
   * The remote task's result, or its error. A cancellation that this page asked for is no error: it is then
   * the result. It does not read the stream, and a task that has to send waits for somebody who does.
   */
  result;
  #connection;
  #dialog;
  #settle;
  #waiting = new Set();
  #discarding = false;
  #aborted = null; // { reason }, once a signal asked for the end
  #overrun = null;
  #forgetSignal = () => {};

  constructor(connection, dialog, options) {
    this.#connection = connection;
    this.#dialog = dialog;
    this.stream = new MsgStream(this, dialog, streamOptions(options));
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Whoever does not ask for the outcome does not want to hear of it as an unhandled rejection.
    this.result.catch(() => {});
  }

  /** The value that the task passed to `ctx.started()`. */
  get started() {
    return this.#dialog.started;
  }

  get done() {
    return this.#dialog.done;
  }

  get cancelCalled() {
    return this.#dialog.cancelCalled;
  }

  get cancelAcked() {
    return this.#dialog.cancelAcked;
  }

  /**
   * Ask for the end of the remote task; resolves once it was acknowledged. `result` resolves when the task has
   * unwound. ActorTooSlowError where `timeout` milliseconds bring no acknowledgement.
   */
  async cancel({ timeout = CANCEL_TIMEOUT } = {}) {
    const dialog = this.#dialog;
    if (!dialog.allows("cancel")) return;
    dialog.cancel(this.#connection.uid);
    this._flush();
    if (!(await this._until(() => dialog.cancelAcked || dialog.done, timeout))) {
      throw new ActorTooSlowError("the actor did not acknowledge the cancel of a context in time");
    }
  }

  /** Send no more, discard what nobody reads and wait for the result: as leaving the block does in Python. */
  finish() {
    if (!this.stream.closed) this.stream.close();
    return this.result;
  }

  /** For `await using`: end the remote task if it still runs, and wait until it has unwound. */
  async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
    await this._cancelAndSettle();
  }

  // For the connection and the stream; nothing of it is public.

  /** Wait for the first value, or throw the error that came instead. */
  async _started() {
    await this._until(() => this.#dialog.hasStarted || this.#dialog.done);
    if (!this.#dialog.hasStarted || this.#aborted) await this.result;
  }

  _watch(signal) {
    if (!signal) return;
    const abort = () => {
      if (this.#dialog.done) return;
      this.#aborted = { reason: signal.reason };
      this._cancelAndSettle();
    };
    signal.addEventListener("abort", abort, { once: true });
    this.#forgetSignal = () => signal.removeEventListener("abort", abort);
  }

  /** End the remote task and wait for its end; without an acknowledgement, go on without it. */
  async _cancelAndSettle() {
    try {
      await this.cancel();
    } catch (error) {
      this._cut(error);
    }
    this._discard();
    await this._until(() => this.#dialog.done);
  }

  _deliver(message, size) {
    try {
      this.#dialog.receive(message, size);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      if (this.#dialog.allows("cancel")) this.#dialog.cancel(this.#connection.uid, error.message);
      this.#dialog.cut(new TransportClosed(`protocol violation by the actor: ${error.message}`));
    }
    this._flush();
    this.#changed();
  }

  _cut(error) {
    this.#dialog.cut(error);
    this.#changed();
  }

  #changed() {
    if (this.#discarding) this._discard();
    for (const check of this.#waiting) check();
    if (this.#dialog.done) this.#end();
  }

  #end() {
    this.#forgetSignal();
    this.#connection._forget(this.#dialog.cid);
    const failure = this.#failure();
    if (failure !== null) this.#settle.reject(failure.error);
    else this.#settle.resolve(this.#dialog.error ?? this.#dialog.value);
  }

  /** What whoever waits is to be told, as `{ error }`; null where all went well, or as this side asked. */
  #failure() {
    if (this.#aborted) return { error: this.#aborted.reason };
    const error = this.#overrun ?? this.#dialog.error;
    return error === null || this.#absorbs(error) ? null : { error };
  }

  #absorbs(error) {
    return error instanceof ContextCancelled && error.canceller?.[1] === this.#connection.uid[1];
  }

  _throwIfAborted() {
    if (this.#aborted && this.#dialog.done) throw this.#aborted.reason;
  }

  _throwIfFailed() {
    const failure = this.#dialog.done || this.#overrun ? this.#failure() : null;
    if (failure !== null) throw failure.error;
  }

  /** Wait until `ready()`; false where that was not so within `timeout` milliseconds. */
  _until(ready, timeout = Infinity) {
    if (ready()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (inTime) => {
        this.#waiting.delete(check);
        clearTimeout(timer);
        resolve(inTime);
      };
      const check = () => ready() && finish(true);
      const timer = timeout === Infinity ? undefined : setTimeout(() => finish(false), timeout);
      this.#waiting.add(check);
    });
  }

  /** This side's receiver does not keep up and asked not to be waited for: the task is ended. */
  _overrun() {
    const error = new StreamOverrun(`the actor took nothing for ${OVERRUN_GRACE} ms with a full window`);
    this.#overrun = error;
    if (this.#dialog.allows("fail")) this.#dialog.fail(box(error, "overrun", this.#connection.uid));
    this._flush();
    return error;
  }

  /** From now on nobody reads: the sender must not run out of credit for that. */
  _discard() {
    this.#discarding = true;
    while (!this.#dialog.inbox.empty) this.#dialog.take();
    this._flush();
    for (const check of this.#waiting) check();
  }

  _post(text) {
    this.#connection._post(this.#dialog.cid, text);
  }

  _flush() {
    const { outbox } = this.#dialog;
    // Credit and cancels do not wait behind a large value under way.
    for (const message of outbox.splice(0)) {
      this.#connection._post(this.#dialog.cid, JSON.stringify(message), message[0] === CREDIT || message[0] === CANCEL);
    }
  }
}

// -- pieces --------------------------------------------------------------------------------------------------

/** Largest WebSocket message; what is longer goes in chunks of CHUNK bytes. */
const MAX_FRAME = 98304;
const CHUNK_SIZE = 64 * 1024;
/** What the browser may hold unsent before further chunks wait (bytes), so that small messages get through. */
const UNSENT = 512 * 1024;
/** How often is looked whether there is room again (ms); browsers have no event for it. */
const ROOM_POLL = 4;
/** Default of the longest message, either way (bytes). */
const MAX_PAYLOAD = 256 * 1024 * 1024;
/** The least that a peer may say it takes (bytes): an error must fit. */
const LEAST_BOUND = 4096;
/** What an actor takes that does not say: one message, and unfinished ones besides the largest (bytes). */
const DEFAULT_BOUNDS = { payload: 1024 ** 3, buffered: MAX_PAYLOAD };
/** Bytes that an unfinished message counts for besides its own. */
const UNFINISHED = 512;

/** Sends messages: whole ones at once, large ones in chunks that give way to those of other dialogs. */
class Sender {
  #socket;
  #bounds;
  /** By dialog, what waits in order: the large message that is being cut and what came after it. */
  #lanes = new Map();
  #timer = undefined;

  constructor(socket, bounds) {
    this.#socket = socket;
    this.#bounds = bounds;
  }

  post(cid, text, overtakes = false) {
    const bytes = text.length * 3 <= MAX_FRAME ? null : utf8.encode(text);
    const most = this.#bounds.payload;
    if (bytes !== null && bytes.length > most) throw new MsgTooLarge(bytes.length, most);
    const large = bytes !== null && bytes.length > MAX_FRAME;
    const lane = this.#lanes.get(cid);
    // Nothing overtakes the Start: the actor would not know what it is about.
    if (!large && (lane === undefined || (overtakes && !lane[0].starts))) return this.#socket.send(text);
    const entry = { text, bytes: large ? bytes : null, at: 0, starts: text.startsWith(`[${START},`) };
    if (lane === undefined) this.#lanes.set(cid, [entry]);
    else lane.push(entry);
    if (this.#timer === undefined) this.#pump();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#lanes.clear();
  }

  #pump() {
    this.#timer = undefined;
    while (this.#lanes.size > 0 && this.#socket.bufferedAmount < UNSENT) {
      const [cid, lane] = [...this.#lanes].find(([, [head]]) => this.#mayGo(head));
      // To the end: they take turns.
      this.#lanes.delete(cid);
      if (this.#sendFrom(cid, lane[0])) lane.shift();
      if (lane.length > 0) this.#lanes.set(cid, lane);
    }
    if (this.#lanes.size > 0) this.#timer = setTimeout(() => this.#pump(), ROOM_POLL);
  }

  /** Whether the actor can hold this message too, besides those that are unfinished there. */
  #mayGo(head) {
    if (head.bytes === null || head.at > 0) return true;
    const begun = [...this.#lanes.values()].filter(([{ at }]) => at > 0).map(([{ bytes }]) => bytes.length);
    const all = [...begun, head.bytes.length];
    // The largest of all has a budget of its own.
    const others = all.reduce((sum, size) => sum + size + UNFINISHED, 0) - Math.max(...all);
    return begun.length === 0 || others <= this.#bounds.buffered;
  }

  /** Send an entry, or its next chunk; true once all of it was sent. */
  #sendFrom(cid, entry) {
    if (entry.bytes === null) {
      this.#socket.send(entry.text);
      return true;
    }
    const piece = entry.bytes.subarray(entry.at, entry.at + CHUNK_SIZE);
    entry.at += piece.length;
    const last = entry.at === entry.bytes.length;
    this.#socket.send(`[${CHUNK},${cid},${last},"${toBase64(piece)}"]`);
    return last;
  }
}

/** Puts chunks together: one message may have `limit` bytes, all unfinished ones twice as many. */
class Joiner {
  #limit;
  #parts = new Map();
  #held = 0;

  constructor(limit) {
    this.#limit = limit;
  }

  /** The whole message as text once its last piece is here, else null; what may not be throws. */
  add([, cid, last, data]) {
    const piece = fromBase64(data);
    if (piece.length === 0) throw new SyntaxError("an empty piece of a message");
    const message = this.#parts.get(cid) ?? this.#begin(cid);
    this.#held += piece.length;
    if (message.size + piece.length > this.#limit || this.#held > 2 * this.#limit) {
      throw new MsgTooLarge(this.#held, this.#limit);
    }
    append(message, piece);
    if (!last) return null;
    this.#parts.delete(cid);
    this.#held -= message.size + UNFINISHED;
    // Only now: a piece may end within a character.
    return fromUtf8.decode(message.bytes.subarray(0, message.size));
  }

  #begin(cid) {
    const message = { bytes: new Uint8Array(2 * CHUNK_SIZE), size: 0 };
    this.#parts.set(cid, message);
    this.#held += UNFINISHED;
    return message;
  }
}

function append(message, piece) {
  const { bytes, size } = message;
  if (size + piece.length > bytes.length) {
    message.bytes = new Uint8Array(Math.max(2 * bytes.length, size + piece.length));
    message.bytes.set(bytes.subarray(0, size));
  }
  message.bytes.set(piece, size);
  message.size += piece.length;
}

// -- the handshake -------------------------------------------------------------------------------------------

const NONCE_SIZE = 32;
const MIN_TOKEN = 16;

/** A WebSocket as a queue of frames, read one by one until `handOver`. */
class Mailbox {
  #frames = [];
  #end = null;
  #notify = () => {};
  #onFrame = null;
  #onEnd = null;

  constructor(socket, url) {
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#notify();
    };
    this.opened = () => this.#until(() => opened);
    socket.onmessage = ({ data }) => {
      if (this.#onFrame !== null) return this.#onFrame(data);
      this.#frames.push(data);
      this.#notify();
    };
    socket.onclose = ({ code, reason }) => this.end(closedBy(url, opened, code, reason));
  }

  /** The next frame; throws what `end` was given once there is none left. */
  async next() {
    await this.#until(() => this.#frames.length > 0);
    return this.#frames.shift();
  }

  end(error) {
    if (this.#end !== null) return;
    this.#end = error;
    this.#notify();
    this.#onEnd?.(error);
  }

  handOver(onFrame, onEnd) {
    for (const frame of this.#frames.splice(0)) onFrame(frame);
    this.#onFrame = onFrame;
    this.#onEnd = onEnd;
    if (this.#end !== null) onEnd(this.#end);
  }

  async #until(ready) {
    while (!ready()) {
      if (this.#end !== null) throw this.#end;
      await new Promise((resolve) => {
        this.#notify = () => resolve(undefined);
      });
    }
  }
}

function closedBy(url, opened, code, reason) {
  if (opened) return new TransportClosed(`the connection to ${url} has ended (${code}${reason && ` ${reason}`})`);
  return new TransportClosed(
    `no connection to ${url}: nobody listens there, or this page (${globalThis.origin ?? "no page"}) is not let in; ` +
      "browsers do not say which",
  );
}

/** The proof that `side` holds the token: an HMAC over all that both have said. */
async function makeProof(key, side, nonces, hellos) {
  const parts = ["tractor-core handshake proof", side, PROTOCOL, "token"].map((part) => utf8.encode(part));
  const framed = [...parts, ...nonces, ...hellos.map((hello) => utf8.encode(hello))].flatMap((part) => {
    const length = new DataView(new ArrayBuffer(4));
    length.setUint32(0, part.length, true);
    return [new Uint8Array(length.buffer), part];
  });
  const whole = new Uint8Array(await new Blob(framed).arrayBuffer());
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, whole));
}

function sameBytes(one, other) {
  let difference = one.length ^ other.length;
  for (let i = 0; i < one.length; i += 1) difference |= one[i] ^ other[i];
  return difference === 0;
}

function refuse(reason) {
  throw new AuthenticationFailed(`this side refused: ${reason}`);
}

async function nextOf(mailbox, tag) {
  const text = await mailbox.next();
  let message;
  try {
    message = decodeFrame(text);
  } catch {
    refuse("no handshake message came");
  }
  if (message[0] === ERROR) throw new AuthenticationFailed(`the peer refused: ${message[2][1]}`);
  if (message[0] !== tag) refuse(`message ${tag} was expected, ${message[0]} came`);
  return { text, message };
}

/** Prove the token and have it proved; who is at the other end, and what it takes. */
async function shakeHands(socket, mailbox, uid, token, maxPayload) {
  const key = await crypto.subtle.importKey("raw", token, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_SIZE));
  const bounds = [MAX_FRAME, maxPayload, maxPayload];
  const mine = JSON.stringify([HELLO, [...uid, 0, false], PROTOCOL, ["json"], toBase64(nonce), bounds]);
  await mailbox.opened();
  socket.send(mine);
  const { text: theirs, message: hello } = await nextOf(mailbox, HELLO);
  const [, aid, protocol, codecs, theirNonce, [, payload = 0, buffered = 0] = []] = hello;
  if (protocol !== PROTOCOL) refuse(`protocol ${protocol} is not ${PROTOCOL}`);
  if (!codecs.includes("json")) refuse("no common codec");
  const nonces = [nonce, fromBase64(theirNonce)];
  if (nonces[1].length !== NONCE_SIZE || sameBytes(nonce, nonces[1])) refuse("the nonce is not fresh");
  const proof = await makeProof(key, "dialler", nonces, [mine, theirs]);
  socket.send(JSON.stringify([AUTH, "token", toBase64(proof)]));
  const { message: answer } = await nextOf(mailbox, AUTH);
  const expected = await makeProof(key, "acceptor", nonces, [mine, theirs]);
  if (answer[1] !== "token" || !sameBytes(expected, fromBase64(answer[2] ?? ""))) {
    refuse("the acceptor does not hold the token");
  }
  const theirBounds = {
    payload: Math.min(payload || DEFAULT_BOUNDS.payload, maxPayload),
    buffered: buffered || DEFAULT_BOUNDS.buffered,
  };
  return { peer: { name: aid[0], uuid: aid[1], pid: aid[2] }, bounds: theirBounds };
}

// -- the connection ------------------------------------------------------------------------------------------

/**
 * Connect to an actor that listens on `ws://` or `wss://`, as the client whom `token` belongs to.
 *
 * AuthenticationFailed where either side refuses, TransportClosed where there is no connection, the reason of
 * `signal` where it is aborted meanwhile.
 */
export async function connect(url, { token, name = "browser", signal, timeout = 10_000, maxPayload = MAX_PAYLOAD }) {
  if (!globalThis.crypto?.subtle) {
    throw new TypeError("crypto.subtle is missing: browsers offer it to pages from https:// and http://127.0.0.1 only");
  }
  if (!isText(name) || !isWhole(name)) throw new TypeError("a name is text without half of a surrogate pair");
  const secret = utf8.encode(typeof token === "function" ? await fetchToken(token) : token);
  if (secret.length < MIN_TOKEN) throw new RangeError(`a token has at least ${MIN_TOKEN} bytes`);
  if (!isCount(maxPayload) || maxPayload < LEAST_BOUND) throw new RangeError(`maxPayload is at least ${LEAST_BOUND} bytes`);
  signal?.throwIfAborted();
  const uid = [name, crypto.randomUUID()];
  const socket = new WebSocket(url, SUBPROTOCOL);
  const mailbox = new Mailbox(socket, url);
  const abort = () => mailbox.end(signal.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const late = new TransportClosed(`no answer from ${url} within ${timeout} ms`);
  const timer = setTimeout(() => mailbox.end(late), timeout);
  try {
    const { peer, bounds } = await shakeHands(socket, mailbox, uid, secret, maxPayload);
    return new Connection(socket, mailbox, uid, peer, bounds, maxPayload);
  } catch (error) {
    socket.close();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** A token that cannot be had now is no reason to give up for good. */
async function fetchToken(fetch) {
  try {
    return await fetch();
  } catch (error) {
    throw new TransportClosed(`no token to connect with: ${error.message}`, { cause: error });
  }
}

/** What a connection dispatches when it ends; `error` says why, null where `close()` was called here. */
export class ClosedEvent extends Event {
  constructor(error) {
    super("closed");
    this.error = error;
  }
}

/** A connection to one actor; dispatches "closed" when it ends, whatever the reason. Made by `connect()`. */
export class Connection extends EventTarget {
  /** `[name, uuid]`: what this page calls itself. */
  uid;
  /** Who is at the other end: name, uuid, pid. */
  peer;
  #socket;
  #sender;
  #joiner;
  #dialogs = new Map();
  #nextCid = 0;
  #end = null;
  #socketClosed;

  constructor(socket, mailbox, uid, peer, bounds, maxPayload) {
    super();
    this.uid = uid;
    this.peer = peer;
    this.#socket = socket;
    this.#sender = new Sender(socket, bounds);
    this.#joiner = new Joiner(maxPayload);
    this.#socketClosed = new Promise((resolve) => {
      socket.addEventListener("close", () => resolve(undefined));
    });
    mailbox.handOver(
      (frame) => this.#receive(frame),
      (error) => this.#over(error, error),
    );
  }

  get closed() {
    return this.#end !== null;
  }

  /** Run an async function of the actor: its result, or its error. Aborting `signal` cancels it first. */
  async call(target, kwargs = {}, { args = [], signal } = {}) {
    return this.#start("asyncfunc", target, kwargs, { args, signal }).result;
  }

  /** Open a context; resolves with it once the task has called `ctx.started()`. */
  async openContext(target, kwargs = {}, options = {}) {
    const context = this.#start("context", target, kwargs, options);
    await context._started();
    return context;
  }

  /** The values of an async generator of the actor. Leaving the loop early closes the generator there. */
  async *streamFrom(target, kwargs = {}, options = {}) {
    const context = this.#start("asyncgen", target, kwargs, { ...options, overflow: "block" });
    try {
      await context._started();
      yield* context.stream;
    } finally {
      await context._cancelAndSettle();
    }
  }

  /** Ask for the end of the whole actor. Clients are refused: CancelRefused. */
  async cancelActor({ timeout = CANCEL_TIMEOUT } = {}) {
    this.#check();
    const cid = this.#newCid();
    const answer = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new ActorTooSlowError("no answer to the cancel in time")), timeout);
      const settle = (granted) => {
        clearTimeout(timer);
        if (granted) resolve(undefined);
        else reject(new CancelRefused("a client may not cancel the actor"));
      };
      // Where the connection ends, the actor is gone, which is what was asked for.
      this.#dialogs.set(cid, { _deliver: ([, , granted]) => settle(granted ?? true), _cut: () => settle(true) });
    });
    this._post(cid, JSON.stringify([CANCEL, cid, this.uid, "", null, true]));
    return answer.finally(() => this._forget(cid));
  }

  /** Close; what is under way ends with TransportClosed here, and is cancelled there. */
  async close() {
    this.#over(new TransportClosed("the connection was closed here"), null);
    await this.#socketClosed;
  }

  async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
    await this.close();
  }

  #start(functype, target, kwargs, { args = [], signal, ...options }) {
    this.#check();
    signal?.throwIfAborted();
    const fields = encodeStart(target, functype, args, kwargs);
    const cid = this.#newCid();
    const context = new Context(this, new Dialog(cid, functype), options);
    this._post(cid, `[${START},${cid},${fields}]`);
    this.#dialogs.set(cid, context);
    context._watch(signal);
    return context;
  }

  #newCid() {
    this.#nextCid += 2;
    return this.#nextCid - 2;
  }

  #check() {
    if (this.#end !== null) throw this.#end;
  }

  _post(cid, text, overtakes) {
    // Whoever waits for an answer is told by the end of the connection.
    if (this.#end === null) this.#sender.post(cid, text, overtakes);
  }

  _forget(cid) {
    this.#dialogs.delete(cid);
  }

  #receive(frame) {
    if (this.#end !== null) return;
    try {
      this.#take(decodeFrame(frame), frame, true);
    } catch (error) {
      const closed = new TransportClosed(`the actor sent what is no message: ${error.message}`, { cause: error });
      this.#over(closed, closed);
    }
  }

  #take(message, frame, mayBeChunk) {
    const [tag, cid] = message;
    if (tag === CHUNK) {
      if (!mayBeChunk) throw new SyntaxError("a chunk inside a chunk");
      const whole = this.#joiner.add(message);
      if (whole !== null) this.#take(decodeFrame(whole), whole, false);
    } else if (tag === PING) {
      this.#socket.send(JSON.stringify([PONG, cid]));
    } else if (tag === START) {
      // A page exposes nothing.
      const refusal = box(new ModuleNotExposed("a client exposes no functions"), "notexposed", this.uid);
      this._post(cid, JSON.stringify([ERROR, cid, refusal]));
    } else if (tag === CANCEL) {
      this._post(cid, JSON.stringify([CANCEL_ACK, cid, message[5] !== true]));
    } else {
      // Late messages of a dialog that is over are dropped.
      this.#dialogs.get(cid)?._deliver(message, tag === YIELD ? payloadSize(frame, message) : 0);
    }
  }

  #over(error, reported) {
    if (this.#end !== null) return;
    this.#end = error;
    this.#sender.stop();
    this.#socket.close();
    for (const dialog of [...this.#dialogs.values()]) dialog._cut(error);
    this.dispatchEvent(new ClosedEvent(reported));
  }
}

// -- reconnecting --------------------------------------------------------------------------------------------

/** What a reconnector dispatches; see `reconnecting()`. */
export class ReconnectEvent extends Event {
  constructor(type, details) {
    super(type);
    Object.assign(this, details);
  }
}

/**
 * Keep a connection: connect, and again when it ends, after a delay that doubles up to `maxDelay` ms.
 *
 * Dispatches "connect" (`connection`) for the first one, "reconnect" (`connection`) for each later one,
 * "closed" (`error`) when one ends, "waiting" (`error`, `delay`) before each attempt and "failed" (`error`)
 * when it gives up, which it does where the token is refused. What to open again is the page's decision.
 */
export function reconnecting(url, options) {
  return new Reconnector(url, options);
}

export class Reconnector extends EventTarget {
  /** The connection, null while there is none. */
  connection = null;
  #url;
  #options;
  #delays;
  #stop = new AbortController();

  constructor(url, { firstDelay = 250, maxDelay = 15_000, ...options }) {
    super();
    this.#url = url;
    this.#options = options;
    this.#delays = { first: firstDelay, most: maxDelay };
    // Later, so that the page can listen before anything happens.
    queueMicrotask(() => this.#run());
  }

  get stopped() {
    return this.#stop.signal.aborted;
  }

  /** Close the connection and make no other. */
  async stop() {
    this.#stop.abort();
    await this.connection?.close();
  }

  async #run() {
    const { signal } = this.#stop;
    let first = true;
    let delay = this.#delays.first;
    while (!signal.aborted) {
      try {
        await this.#connected(first ? "connect" : "reconnect");
        first = false;
        delay = this.#delays.first;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof TransportClosed)) return this.#gaveUp(error);
        // Not all pages at once: a part of the delay is left to chance.
        const wait = delay * (0.5 + Math.random() / 2);
        this.#tell("waiting", { error, delay: wait });
        await this.#pause(wait);
        delay = Math.min(2 * delay, this.#delays.most);
      }
    }
  }

  /** Connect, and wait for the end of that connection; throws where there is none. */
  async #connected(event) {
    const connection = await connect(this.#url, { ...this.#options, signal: this.#stop.signal });
    const ended = new Promise((resolve) => {
      connection.addEventListener("closed", ({ error }) => resolve(error), { once: true });
    });
    this.connection = connection;
    this.#tell(event, { connection });
    const error = connection.closed ? null : await ended;
    this.connection = null;
    this.#tell("closed", { error });
  }

  #gaveUp(error) {
    this.#stop.abort();
    this.#tell("failed", { error });
  }

  #tell(type, details) {
    this.dispatchEvent(new ReconnectEvent(type, details));
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#stop.signal.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
    });
  }
}
