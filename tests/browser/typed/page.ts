// What a typed page may and may not do; checked by the compiler, never run.

import {
  AuthenticationFailed,
  ContextCancelled,
  MsgTypeError,
  RemoteActorError,
  TransportClosed,
  connect,
  fromBase64,
  reconnecting,
  toBase64,
  type Context,
  type Uid,
} from "../../../transports/tractor_websocket/browser/tractor.js";

interface Price {
  symbol: string;
  value: number;
}

export async function session(url: string, token: string): Promise<number> {
  const stop = new AbortController();
  await using t = await connect(url, { token, name: "page", timeout: 5000 });
  t.addEventListener("closed", ({ error }) => console.log(error?.message));
  const price: Price = await t.call<Price>("service:price", { symbol: "ABC" }, { signal: stop.signal });
  const bytes: Uint8Array = fromBase64(toBase64(new Uint8Array(3)));

  const ctx: Context<Price, string, number, string> = await t.openContext("service:watch", {}, { overflow: "raise" });
  const first: string = ctx.started;
  for await (const { symbol, value } of ctx.stream) {
    await ctx.stream.send(symbol + value.toFixed() + first + bytes.length);
    break;
  }
  await ctx.cancel();
  const result = await ctx.result;
  for await (const item of t.streamFrom<Price>("service:prices", { n: 3 }, { window: 8 })) console.log(item.symbol);
  return result instanceof ContextCancelled ? price.value : result;
}

export function describe(error: unknown): string | Uid | null {
  if (error instanceof ContextCancelled) return error.canceller;
  if (error instanceof MsgTypeError) return `${error.path}: ${error.expected}`;
  if (error instanceof RemoteActorError) return error.type + error.notes.join() + error.traceback;
  if (error instanceof TransportClosed || error instanceof AuthenticationFailed) return error.message;
  return null;
}

export function keep(url: string): void {
  const link = reconnecting(url, { token: async () => "fresh", maxDelay: 1000 });
  link.addEventListener("reconnect", ({ connection }) => console.log(connection.peer.name));
  link.addEventListener("waiting", ({ delay, error }) => console.log(delay, error.message));
}

export async function misuse(url: string): Promise<void> {
  // @ts-expect-error: a token is needed
  await connect(url, {});
  const t = await connect(url, { token: "0123456789abcdef" });
  // @ts-expect-error: arguments go by name
  await t.call("service:price", "ABC");
  // @ts-expect-error: there is no such policy
  const ctx = await t.openContext<number, number>("service:watch", {}, { overflow: "drop" });
  // @ts-expect-error: only numbers are sent
  await ctx.stream.send("text");
}
