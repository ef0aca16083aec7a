/** Talk to actors from a web page; see docs/how-to/browsers.rst. */

/** `[name, uuid]` of an actor or client. */
export type Uid = [name: string, uuid: string];

/** Arguments by name. A `Uint8Array` in them is sent as base64 text. */
export type Arguments = Record<string, unknown>;

/** What happens to the actor when it sends and this page's window is full. */
export type Overflow = "block" | "raise" | "buffer";

// -- connecting ----------------------------------------------------------------------------------------------

export interface ConnectOptions {
  /** At least 16 bytes in UTF-8; a function is asked for each connection. */
  token: string | (() => string | Promise<string>);
  /** What this page calls itself. The actor knows it by the name that belongs to the token. */
  name?: string;
  /** Gives up connecting; a connection that stands is not concerned. */
  signal?: AbortSignal;
  /** Milliseconds for connecting and the handshake, default 10,000. */
  timeout?: number;
  /** Longest message either way, in bytes, default 256 MiB; the actor's own limit counts too. */
  maxPayload?: number;
}

/**
 * Connect to an actor that listens on `ws://` or `wss://`.
 *
 * Throws `AuthenticationFailed` where either side refuses, `TransportClosed` where there is no connection, the
 * reason of `signal`, `RangeError` for a short token, and `TypeError` for a `name` that is no
 * text and in a page without `crypto.subtle`.
 */
export function connect(url: string, options: ConnectOptions): Promise<Connection>;

export interface Peer {
  name: string;
  uuid: string;
  pid: number;
}

/** Why a connection ended; null where `close()` was called on this side. */
export class ClosedEvent extends Event {
  constructor(error: TractorError | null);
  readonly error: TractorError | null;
}

export interface ConnectionEventMap {
  closed: ClosedEvent;
}

/** A connection to one actor. */
export class Connection extends EventTarget {
  private constructor();

  /** What this page calls itself. */
  readonly uid: Uid;
  /** The actor at the other end. */
  readonly peer: Peer;
  readonly closed: boolean;

  /**
   * Run an async function of the actor, `"module:function"`: its result, or its error.
   *
   * `TypeError` or `RangeError`, and nothing sent, for arguments that JSON cannot carry.
   * Aborting `signal` cancels the function, waits until it has unwound and throws the signal's reason.
   */
  call<Result = unknown>(target: string, kwargs?: Arguments, options?: CallOptions): Promise<Result>;

  /** Open a context; resolves once the task has called `ctx.started()`. */
  openContext<Received = unknown, Sent = unknown, Result = unknown, Started = unknown>(
    target: string,
    kwargs?: Arguments,
    options?: ContextOptions,
  ): Promise<Context<Received, Sent, Result, Started>>;

  /** The values of an async generator of the actor. Leaving the loop early closes the generator there. */
  streamFrom<Received = unknown>(
    target: string,
    kwargs?: Arguments,
    options?: StreamFromOptions,
  ): AsyncGenerator<Received, void, void>;

  /** Ask for the end of the whole actor, which clients may not: `CancelRefused`. */
  cancelActor(options?: { timeout?: number }): Promise<void>;

  /** Close; what is under way ends with `TransportClosed` here, and is cancelled there. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;

  addEventListener<Type extends keyof ConnectionEventMap>(
    type: Type,
    listener: (event: ConnectionEventMap[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export interface CallOptions {
  /** Arguments by position, before those by name. */
  args?: unknown[];
  signal?: AbortSignal;
}

export interface StreamFromOptions extends CallOptions {
  /** Values that may be under way or unread, default 64. */
  window?: number;
  /** The same in bytes, default 8 MiB. */
  windowBytes?: number;
}

export interface ContextOptions extends StreamFromOptions {
  /** Default "block". */
  overflow?: Overflow;
}

// -- contexts and streams --------------------------------------------------------------------------------------

/** A task in an actor and what links it to this page. */
export class Context<Received = unknown, Sent = unknown, Result = unknown, Started = unknown> {
  private constructor();

  /** The value that the task passed to `ctx.started()`. */
  readonly started: Started;
  /** The values both ways. */
  readonly stream: MsgStream<Received, Sent>;
  /**
   * The task's result, or its error. A cancellation that this page asked for is a result. It does not read the
   * stream: a task that has to send waits for somebody who does.
   */
  readonly result: Promise<Result | ContextCancelled>;
  readonly done: boolean;
  readonly cancelCalled: boolean;
  readonly cancelAcked: boolean;

  /**
   * Ask for the end of the remote task; resolves once it was acknowledged. `result` resolves when the task has
   * unwound. `ActorTooSlowError` after `timeout` milliseconds (default 500) without an acknowledgement.
   */
  cancel(options?: { timeout?: number }): Promise<void>;

  /** Send no more, discard what still comes, and wait for the result. */
  finish(): Promise<Result | ContextCancelled>;

  /** For `await using`: cancels the remote task if it still runs, and waits until it has unwound. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Values both ways. An iterator: leaving `for await` early leaves it open, and another one goes on from there. */
export class MsgStream<Received = unknown, Sent = unknown> {
  private constructor();

  readonly closed: boolean;

  /** The next value; `done` after the far side's graceful end, or once closed here. */
  next(): Promise<IteratorResult<Received, undefined>>;
  [Symbol.asyncIterator](): MsgStream<Received, Sent>;

  /**
   * Send a value once there is credit for it. It is encoded at once: `TypeError` or `RangeError` for what JSON
   * cannot carry, `StreamOverrun` where the actor does not keep up and does not want to be waited for,
   * `TransportClosed` once the stream has ended, the task's error where it ended with one.
   */
  send(value: Sent): Promise<void>;

  /** Say that nothing more will be sent; what the far side sends can still be read. */
  stop(): void;

  /** End this side: the far side's iteration ends, and what still comes is discarded. */
  close(): void;
}

// -- reconnecting ----------------------------------------------------------------------------------------------

export interface ReconnectOptions extends Omit<ConnectOptions, "signal"> {
  /** Milliseconds before the second attempt, default 250; doubles from there. */
  firstDelay?: number;
  /** Its limit, default 15,000. */
  maxDelay?: number;
}

/** Keep a connection: connect, and again when it ends. It gives up where the token is refused. */
export function reconnecting(url: string, options: ReconnectOptions): Reconnector;

export interface ReconnectorEventMap {
  /** The first connection. */
  connect: Event & { readonly connection: Connection };
  /** Each later one. */
  reconnect: Event & { readonly connection: Connection };
  /** The connection ended. */
  closed: Event & { readonly error: TractorError | null };
  /** There is none, and the next attempt comes after `delay` milliseconds. */
  waiting: Event & { readonly error: TractorError; readonly delay: number };
  /** It gave up. */
  failed: Event & { readonly error: Error };
}

export class Reconnector extends EventTarget {
  private constructor();

  /** Null while there is none. */
  readonly connection: Connection | null;
  readonly stopped: boolean;

  /** Close the connection and make no other. */
  stop(): Promise<void>;

  addEventListener<Type extends keyof ReconnectorEventMap>(
    type: Type,
    listener: (event: ReconnectorEventMap[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** What a reconnector dispatches. */
export class ReconnectEvent extends Event {
  constructor(type: string, details: object);
}

// -- errors ------------------------------------------------------------------------------------------------------

/** Base of what this module throws, misuse aside (`TypeError`, `RangeError`). */
export class TractorError extends Error {}

/** The path to the actor is gone. */
export class TransportClosed extends TractorError {}

/** One side did not prove that it holds the token. */
export class AuthenticationFailed extends TractorError {}

/** The actor has no such function, or none for clients. */
export class ModuleNotExposed extends TractorError {}

/** Clients may not end the actor. */
export class CancelRefused extends TractorError {}

/** A cancel request was not acknowledged in time. */
export class ActorTooSlowError extends TractorError {}

/** A message over the limit; nothing was sent. In bytes. */
export class MsgTooLarge extends TractorError {
  constructor(size: number, limit: number);
  readonly size: number;
  readonly limit: number;
}

/** An error raised in an actor. */
export class RemoteActorError extends TractorError {
  /** `module:qualname` of what the actor raised. */
  readonly type: string;
  /** The same of what the first actor raised, where the error was relayed. */
  readonly sourceType: string;
  /** The actors that it crossed, the origin first. */
  readonly relayPath: Uid[];
  /** As Python formats it; empty unless the actor shows clients its tracebacks (`client_tracebacks=True`). */
  readonly traceback: string;
  readonly notes: string[];
  /** The exception's arguments; null where they could not be encoded. Integers beyond 2^53 are `bigint`. */
  readonly args: unknown[] | null;
  /** Of an exception group. */
  readonly members: TractorError[];
}

/** A remote task was cancelled. */
export class ContextCancelled extends RemoteActorError {
  /** Who asked. */
  readonly canceller: Uid | null;
}

/** A value of the wrong type. */
export class MsgTypeError extends RemoteActorError {
  /** Where in the value, such as `$.rows[3].id`. */
  readonly path: string;
  readonly expected: string;
  readonly bad: string;
}

/** The receiver of a stream did not keep up. */
export class StreamOverrun extends RemoteActorError {}

// -- bytes -------------------------------------------------------------------------------------------------------

/** Bytes as JSON carries them. */
export function toBase64(bytes: Uint8Array): string;

/** What an actor sent as `bytes`. */
export function fromBase64(text: string): Uint8Array;
