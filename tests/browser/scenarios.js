// What the tested page does; each function is given a connection and returns what the test looks at.

import * as tractor from "/tractor.js";

const TOKEN = "the-token-of-the-tested-page";
const E = "browser_endpoints";

const scenarios = {
  async calls(t) {
    return {
      add: await t.call(`${E}:add`, { x: 2, y: 3 }),
      positional: await t.call(`${E}:add`, {}, { args: [20, 3] }),
      nothing: await t.call(`${E}:echo`, { value: undefined }).catch(describe),
      notFinite: await t.call(`${E}:echo`, { value: [NaN, Infinity, 1.5] }),
      bytes: await t.call(`${E}:size_of`, { data: new Uint8Array(1000) }),
      text: await t.call(`${E}:echo`, { value: 'é "𝄞\\ ]' }),
      peer: typeof t.peer.uuid === "string" && t.peer.pid > 0,
      circular: await t.call(`${E}:echo`, { value: circular() }).catch(describe),
      deep: await t.call(`${E}:echo`, { value: nested(201) }).catch(describe),
      deepEnough: await t.call(`${E}:echo`, { value: nested(190) }).then(() => "fine"),
      afterwards: await t.call(`${E}:add`, { x: 1, y: 1 }),
    };
  },

  /** What cannot be sent is refused here; the connection, and whatever else is under way on it, goes on. */
  async unsendable(t) {
    const ctx = await t.openContext(`${E}:double`);
    const half = "good \u{1F600}".slice(0, 6);
    const say = (value) => t.call(`${E}:echo`, { value }).catch(describe);
    const values = {
      text: half,
      boxed: [new String(half)],
      deep: { a: [1, { "b c": half }] },
      key: { fine: 1, also: { [half]: 1 } },
      bigint: [[], {}, 1n],
      function: { run: () => 1 },
      symbol: [Symbol("s")],
      "function itself": () => 1,
    };
    const refused = {};
    for (const [name, value] of Object.entries(values)) {
      refused[name] = [await say(value), await ctx.stream.send(value).catch(describe)];
    }
    const misuse = {
      target: await t.call(5).catch(describe),
      halfTarget: await t.call(`${E}:${half}`).catch(describe),
      byPosition: await t.call(`${E}:add`, {}, { args: [1, half] }).catch(describe),
      args: await t.call(`${E}:add`, {}, { args: "12" }).catch(describe),
      kwargs: await t.call(`${E}:add`, [1, 2]).catch(describe),
      nothing: await t.call(`${E}:add`, null).catch(describe),
    };
    const fine = { whole: "\u{1F600}", [half]: undefined, list: [undefined, NaN], date: new Date(0), same: [[], []] };
    const echoed = await say(fine);
    await ctx.stream.send("still here");
    const streamed = (await ctx.stream.next()).value;
    return { refused, misuse, echoed, streamed, result: await ctx.finish(), closed: t.closed };
  },

  async largeValues(t, size) {
    const value = { text: "é".repeat(size / 2), tail: ["\"]\\", 7] };
    const [back, small] = await Promise.all([
      t.call(`${E}:echo`, { value }),
      // Not behind the large one.
      t.call(`${E}:add`, { x: 1, y: 2 }),
    ]);
    return { same: JSON.stringify(back) === JSON.stringify(value), small };
  },

  async largeInAStream(t, size) {
    const ctx = await t.openContext(`${E}:double`);
    const text = "0123456789".repeat(size / 10);
    await ctx.stream.send(text);
    await ctx.stream.send("after it");
    const first = (await ctx.stream.next()).value;
    const second = (await ctx.stream.next()).value;
    return [first[0] === text && first[1] === text, second, await ctx.finish()];
  },

  async tooLarge(_, url) {
    const t = await tractor.connect(url, { token: TOKEN, maxPayload: 200_000 });
    const error = await t.call(`${E}:echo`, { value: "x".repeat(300_000) }).catch(describe);
    const afterwards = await t.call(`${E}:add`, { x: 1, y: 2 });
    await t.close();
    return { error, afterwards };
  },

  /** Sends and receives at once, in order, and ends its half. */
  async bothWays(t, n) {
    const ctx = await t.openContext(`${E}:double`, {}, { window: 5 });
    const sending = (async () => {
      for (let i = 0; i < n; i += 1) await ctx.stream.send(i);
      ctx.stream.stop();
    })();
    const received = [];
    for await (const value of ctx.stream) received.push(value);
    await sending;
    const inOrder = received.every(([a, b], i) => a === i && b === i);
    return { started: ctx.started, count: received.length, inOrder, result: await ctx.result, done: ctx.done };
  },

  /** Not awaited one by one, the values still go in order. */
  async sentAtOnce(t, n) {
    const ctx = await t.openContext(`${E}:double`);
    const sends = Array.from({ length: n }, (_, i) => ctx.stream.send(i));
    ctx.stream.stop();
    const received = [];
    for await (const [value] of ctx.stream) received.push(value);
    await Promise.all(sends);
    return received;
  },

  async generator(t, n) {
    const values = [];
    for await (const value of t.streamFrom(`${E}:count`, { n })) values.push(value);
    return values;
  },

  async generatorLeftEarly(t) {
    for await (const value of t.streamFrom(`${E}:count`, { n: 100_000, name: "left" })) if (value === 5) break;
    return t.call(`${E}:has_ended`, { name: "left" });
  },

  /** Leaving the loop does not end the stream: another one goes on from there. */
  async leftAndTakenUp(t) {
    const ctx = await t.openContext(`${E}:flood`, { n: 300 });
    const values = [];
    for await (const value of ctx.stream) if (values.push(value) === 10) break;
    for await (const value of ctx.stream) values.push(value);
    return { inOrder: values.every((value, i) => value === i), count: values.length, result: await ctx.result };
  },

  /** Nobody reads on after `close()`, and the sender is not held up by that. */
  async closedEarly(t) {
    const ctx = await t.openContext(`${E}:flood`, { n: 2000 });
    for await (const value of ctx.stream) if (value === 5) break;
    ctx.stream.close();
    const more = await ctx.stream.next();
    const refused = await ctx.stream.send(1).catch(describe);
    return { more, refused: refused.name, result: await ctx.result };
  },

  /** "block": the sender waits for the reader, whatever its window, in messages and in bytes. */
  async slowReader(t, options, size) {
    const ctx = await t.openContext(`${E}:flood`, { n: 50, size }, options);
    let count = 0;
    for await (const _ of ctx.stream) {
      count += 1;
      if (count % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return [count, await ctx.result];
  },

  /** "raise": a reader that stops reading is an error at both ends. */
  async overrun(t) {
    const ctx = await t.openContext(`${E}:flood`, { n: 1000 }, { overflow: "raise", window: 4 });
    await ctx.stream.next();
    return describe(await ctx.result.catch((error) => error));
  },

  async overrunByThePage(t) {
    const ctx = await t.openContext(`${E}:deaf`, { overflow: "raise" });
    let sent = 0;
    const error = await (async () => {
      for (;;) {
        await ctx.stream.send("x");
        sent += 1;
      }
    })().catch(describe);
    const outcome = await ctx.result.catch(describe);
    return { sent: sent >= 4 && sent <= 64 + 4, error: error.name, outcome: outcome.name };
  },

  /** "block": the page waits; here until it gives up. */
  async heldUp(t) {
    const stop = new AbortController();
    const ctx = await t.openContext(`${E}:deaf`, { overflow: "block" }, { signal: stop.signal });
    let sent = 0;
    setTimeout(() => stop.abort(), 600);
    const error = await (async () => {
      for (;;) {
        await ctx.stream.send("x");
        sent += 1;
      }
    })().catch(describe);
    return { sent: sent >= 4 && sent <= 64 + 4, error: error.name };
  },

  async cancelled(t) {
    const ctx = await t.openContext(`${E}:hang_open`, { name: "cancelled" });
    const reading = ctx.stream.next();
    await ctx.cancel();
    const result = await ctx.result;
    return {
      started: ctx.started,
      acked: ctx.cancelAcked,
      result: result.name,
      mine: result.canceller[1] === t.uid[1],
      reading: await reading,
      unwound: await t.call(`${E}:has_ended`, { name: "cancelled" }),
      again: (await ctx.cancel()) ?? "nothing",
    };
  },

  async disposed(t) {
    const run = new Function(
      "t",
      "E",
      "return (async () => { await using ctx = await t.openContext(`${E}:hang_open`, { name: 'disposed' }); })()",
    );
    await run(t, E);
    return t.call(`${E}:has_ended`, { name: "disposed" });
  },

  async abortedCall(t) {
    const stop = new AbortController();
    const call = t.call(`${E}:hang`, { name: "call" }, { signal: stop.signal });
    await t.call(`${E}:add`, { x: 1, y: 1 });
    stop.abort(new Error("enough"));
    const error = await call.catch(describe);
    const before = await t.call(`${E}:add`, { x: 1, y: 1 }, { signal: AbortSignal.abort() }).catch(describe);
    return { error, unwound: await t.call(`${E}:has_ended`, { name: "call" }), before: before.name };
  },

  async abortedStream(t) {
    const stop = new AbortController();
    const ctx = await t.openContext(`${E}:hang_open`, { name: "stream" }, { signal: stop.signal });
    const reading = ctx.stream.next().catch(describe);
    stop.abort(new Error("enough"));
    return {
      reading: (await reading).message,
      result: (await ctx.result.catch(describe)).message,
      unwound: await t.call(`${E}:has_ended`, { name: "stream" }),
    };
  },

  async errors(t) {
    const failed = await t.call(`${E}:fail`, { item: "tea" }).catch((error) => error);
    const group = await t.call(`${E}:fail_twice`).catch((error) => error);
    const wrong = await t.call(`${E}:add`, { x: "two", y: 3 }).catch((error) => error);
    const ctx = await t.openContext(`${E}:break_after`, { n: 3 });
    const values = [];
    const broke = await (async () => {
      for await (const value of ctx.stream) values.push(value);
    })().catch(describe);
    return {
      failed: { ...describe(failed), type: failed.type, notes: failed.notes, cause: failed.cause.type },
      args: failed.args.map((arg) => (arg instanceof Uint8Array ? [...arg] : typeof arg === "bigint" ? `${arg}n` : arg)),
      traceback: failed.traceback.includes("raise error from KeyError(item)"),
      crossed: failed.relayPath.length,
      classes: failed instanceof tractor.RemoteActorError && failed instanceof tractor.TractorError,
      group: group.members.map((member) => [member.type, member.message]),
      wrong: { name: wrong.name, path: wrong.path, expected: wrong.expected },
      broke: { values, ...broke },
      result: (await ctx.result.catch(describe)).name,
    };
  },

  async refusals(t) {
    const names = ["secret", "no_such_function"].map((name) => t.call(`${E}:${name}`).catch(describe));
    return {
      calls: await Promise.all([...names, t.call("os:system", { command: "true" }).catch(describe)]),
      context: await t.openContext(`${E}:secret`).catch(describe),
      cancelActor: await t.cancelActor().catch(describe),
      afterwards: await t.call(`${E}:add`, { x: 1, y: 2 }),
    };
  },

  /** A bystander's stream goes on while another connection is refused this and that. */
  async bystander(t, url) {
    const ctx = await t.openContext(`${E}:double`);
    const heard = [];
    const say = async (value) => {
      await ctx.stream.send(value);
      heard.push((await ctx.stream.next()).value[0]);
    };
    await say(1);
    const wrongToken = await tractor.connect(url, { token: "the-token-of-somebody-else" }).catch(describe);
    await say(2);
    const other = await tractor.connect(url, { token: TOKEN });
    const cancelActor = await other.cancelActor().catch(describe);
    await say(3);
    const secret = await other.call(`${E}:secret`).catch(describe);
    await say(4);
    await other.close();
    await say(5);
    return { wrongToken, cancelActor: cancelActor.name, secret: secret.name, heard, result: await ctx.finish() };
  },

  async closing(_, url) {
    const t = await tractor.connect(url, { token: TOKEN });
    const events = [];
    t.addEventListener("closed", ({ error }) => events.push(error));
    const call = t.call(`${E}:hang`, { name: "closing" }).catch(describe);
    const ctx = await t.openContext(`${E}:hang_open`, { name: "closing too" });
    const reading = ctx.stream.next().catch(describe);
    await t.close();
    const late = await t.call(`${E}:add`, { x: 1, y: 1 }).catch(describe);
    return { call: await call, reading: (await reading).name, late: late.name, closed: t.closed, events };
  },

  async misuse(t, url) {
    const code = (work) => Promise.resolve().then(work).catch((error) => error.name);
    return {
      shortToken: await code(() => tractor.connect(url, { token: "short" })),
      aborted: await code(() => tractor.connect(url, { token: TOKEN, signal: AbortSignal.abort() })),
      window: await code(() => t.openContext(`${E}:flood`, { n: 1 }, { window: 0 })),
      overflow: await code(() => t.openContext(`${E}:flood`, { n: 1 }, { overflow: "drop" })),
      name: await code(() => tractor.connect(url, { token: TOKEN, name: "\ud83d" })),
      freshToken: await code(async () => (await tractor.connect(url, { token: async () => TOKEN })).close()),
      base64: tractor.toBase64(tractor.fromBase64("AAH/")),
    };
  },
};

function circular() {
  const value = {};
  value.self = value;
  return value;
}

function nested(depth) {
  let value = 1;
  for (let i = 0; i < depth; i += 1) value = [value];
  return value;
}

export function describe(error) {
  return { name: error.name, message: error.message };
}

/** Idle for some milliseconds: whether the connection stands afterwards. */
export async function idle(url, milliseconds) {
  const t = await tractor.connect(url, { token: TOKEN });
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const sum = await t.call(`${E}:add`, { x: 1, y: 2 }).catch(describe);
  await t.close();
  return sum;
}

/** Opens a context with an actor that does not keep to the rules, and reads what comes: how that ends. */
export async function endure(url) {
  const t = await tractor.connect(url, { token: TOKEN });
  const values = [];
  const outcome = await (async () => {
    const ctx = await t.openContext("any:thing", {}, { window: 2 });
    for await (const value of ctx.stream) {
      values.push(value);
      if (value === "pause") await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return ctx.result;
  })().catch(describe);
  const { closed } = t;
  await t.close();
  return { outcome, values, closed };
}

export async function run(name, url, args) {
  const t = await tractor.connect(url, { token: TOKEN });
  try {
    return await scenarios[name](t, ...args, url);
  } finally {
    await t.close();
  }
}

/** Connects and nothing else: how that went. */
export async function attempt(url, token) {
  try {
    const t = await tractor.connect(url, { token: token ?? TOKEN });
    await t.close();
    return "connected";
  } catch (error) {
    return describe(error);
  }
}
