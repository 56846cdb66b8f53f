// A client for browsers that implements PROTOCOL.md: one file, without a build step.
//
//   const shop = { get_price: request([string], option(u32)), viewed: emit([string]) };
//   const client = await connect(url, { login: [string, "ada"], serve: [["Lobby", lobby, { message: text => … }]] });
//   const price = await client.group("Purchases", shop).get_price("sword");

// ---- Values: each type encodes a value to a list of bytes, and decodes it from a reader.

class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  take(count) {
    if (count > this.bytes.length - this.at) throw new Error("it is cut short");
    return this.bytes.subarray(this.at, this.at += count);
  }
  byte() { return this.take(1)[0]; }
  varint() {
    // Numbers are exact only up to 2^53. Larger values are rejected.
    for (let value = 0, factor = 1; factor <= 2 ** 49; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new Error("a number is too large");
  }
  rest() { return this.take(this.bytes.length - this.at); }
}

const varint = (out, value) => {
  for (; value >= 128; value = Math.floor(value / 128)) out.push(value % 128 + 128);
  out.push(value);
};
const length = (reader, smallest = 1) => {
  const count = reader.varint();
  if (count * smallest > reader.bytes.length - reader.at) throw new Error("a length is beyond the end");
  return count;
};
const number = most => ({
  write(out, value) {
    if (!Number.isInteger(value) || value < 0 || value > most) throw new Error(`${value} is no such number`);
    varint(out, value);
  },
  read(reader) {
    const value = reader.varint();
    if (value > most) throw new Error("a number does not fit");
    return value;
  },
});
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const u16 = number(2 ** 16 - 1);
export const u32 = number(2 ** 32 - 1);
export const unit = { write() {}, read() {} };
export const string = {
  write(out, value) { const bytes = new TextEncoder().encode(value); varint(out, bytes.length); out.push(...bytes); },
  read: reader => text.decode(reader.take(length(reader))),
};
export const list = type => ({
  write(out, values) { varint(out, values.length); values.forEach(value => type.write(out, value)); },
  read: reader => Array.from({ length: length(reader) }, () => type.read(reader)),
});
export const option = type => ({
  write(out, value) { out.push(value == null ? 0 : 1); if (value != null) type.write(out, value); },
  read: reader => choice(reader, [unit, type]).value,
});
export const tuple = types => ({
  write(out, values) { types.forEach((type, at) => type.write(out, values[at])); },
  read: reader => types.map(type => type.read(reader)),
});
export const struct = fields => ({
  write(out, value) { for (const name in fields) fields[name].write(out, value[name]); },
  read(reader) { const value = {}; for (const name in fields) value[name] = fields[name].read(reader); return value; },
});
// A handler fails by throwing its error, and the stub throws it to the caller.
export const result = (good, bad) => ({
  good, bad,
  read(reader) {
    const { index, value } = choice(reader, [good, bad]);
    if (index === 1) throw value;
    return value;
  },
});
const choice = (reader, types) => {
  const index = reader.varint();
  if (!types[index]) throw new Error("there is no such variant");
  return { index, value: types[index].read(reader) };
};
const encode = (type, value) => { const out = []; type.write(out, value); return out; };
const decode = (type, bytes) => {
  const reader = new Reader(bytes), value = type.read(reader);
  if (reader.at < bytes.length) throw new Error("bytes are left over");
  return value;
};

// ---- Methods

export const request = (args, reply) => ({ args: tuple(args), reply });
export const emit = args => ({ args: tuple(args) });

// crypto.subtle exists only in secure contexts: pages loaded over https, or from localhost.
const key = async (path, name) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${path}\0${name}`))).slice(0, 8);
const keys = (path, methods) =>
  Promise.all(Object.keys(methods).map(async name => ({ name, key: await key(path, name), ...methods[name] })));

// ---- The connection

const EMIT = 1, REQUEST = 2, REPLY = 3, FAILURE = 4, CANCEL = 5, CREDIT = 6, READY = 7, GOING_AWAY = 8, DRAINED = 9,
  GOODBYE = 10, HEARTBEAT = 0x81;
const FAILURES = ["", "no such method", "signature mismatch", "decode", "encode", "too large", "overloaded", "denied",
  "shutting down", "panicked", "timeout", "cancelled"];
const REASONS = ["", "closed", "kicked", "shutting down", "violation", "too slow", "not ready", "silent"];
const TERMS = [4 << 20, 1024, 1 << 20], SILENCE = 45000, TIMEOUT = 30000;

export async function connect(url, { login: [loginType, login], serve = [] }) {
  const served = new Map();
  for (const [path, methods, handlers] of serve) {
    for (const method of await keys(path, methods)) served.set(`${method.key}`, { ...method, run: handlers[method.name] });
  }
  const client = new Client(new WebSocket(url, "sockets.v1"), served);
  await client.open(encode(loginType, login));
  return client;
}

class Client {
  #socket; #served; #terms; #said = 0;
  #calls = new Map(); #next = 0;                      // outgoing requests, by id
  #running = new Map();                               // incoming requests without a reply
  #used = { calls: 0, bytes: 0 }; #waiting = [];      // the send window, and the calls that wait for it
  #owed = { calls: 0, bytes: 0 };                     // incoming emits that have completed
  #stubs = new Map();

  constructor(socket, served) { this.#socket = socket; this.#served = served; }

  // Sends the client hello, and waits for Ready.
  open(login) {
    this.#socket.binaryType = "arraybuffer";
    this.closed = new Promise(closed => this.#socket.onclose = () => {
      this.#calls.forEach(({ reject }) => reject(new Error("disconnected")));
      this.#running.forEach(clearTimeout);
      closed(this.reason ?? "lost");
    });
    return new Promise((ready, failed) => {
      this.closed.then(reason => failed(new Error(reason)));
      this.#socket.onopen = () => {
        const body = [], bears = encode(number(2 ** 53), SILENCE);
        TERMS.forEach(term => varint(body, term));
        varint(body, login.length);
        body.push(...login, 1, 1, bears.length, ...bears);
        const envelope = [...new TextEncoder().encode("SKTS"), 1];
        varint(envelope, body.length);
        this.#send([...envelope, ...body]);
      };
      this.#socket.onmessage = ({ data }) => {
        const heard = new Reader(new Uint8Array(data));
        try {
          if (this.#terms) this.#frame(heard, ready);
          else this.#answer(heard);
        } catch (error) {
          this.reason = `the server broke the protocol: ${error.message}`;
          this.#send([GOODBYE, 4, ...new TextEncoder().encode(error.message)]);
          this.#socket.close();
        }
        // Browsers throttle timers of hidden pages. The server's frames arrive on time, and
        // regularly.
        if (this.#terms && Date.now() - this.#said > SILENCE / 9) this.#send([HEARTBEAT]);
      };
    });
  }

  // Returns a stub for a group that the server serves.
  group(path, methods) {
    if (!this.#stubs.has(path)) this.#stubs.set(path, keys(path, methods));
    const found = this.#stubs.get(path), stub = {};
    for (const name in methods) {
      stub[name] = async (...args) => this.#call((await found).find(method => method.name === name), args);
    }
    return stub;
  }

  close() { this.#send([GOODBYE, 1]); this.reason = "closed"; this.#socket.close(); }

  #send(frame) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(new Uint8Array(frame));
    this.#said = Date.now();
  }

  #answer(heard) {
    if (text.decode(heard.take(4)) !== "SKTS" || heard.varint() !== 1) throw new Error("it speaks something else");
    const body = new Reader(heard.take(heard.varint())), kind = body.varint();
    if (kind !== 0) { this.reason = string.read(body); this.#socket.close(); return; }
    this.#terms = TERMS.map((ours, at) => { const theirs = body.varint(); return at === 0 ? theirs : Math.min(ours, theirs); });
  }

  #call({ key, args, reply }, values) {
    if (this.draining) throw new Error("shutting down");
    const payload = encode(args, values);
    if (!reply) { this.#queue([EMIT, ...key, ...payload], {}); return; }
    return new Promise((resolve, reject) => {
      const id = this.#next, frame = [REQUEST];
      this.#next += 2;
      varint(frame, id);
      varint(frame, TIMEOUT);
      const timer = setTimeout(() => {
        reject(new Error("timeout"));
        const at = this.#waiting.findIndex(waits => waits.id === id);
        if (at < 0) this.#send([CANCEL, ...encode(number(2 ** 53), id)]);
        else { this.#waiting.splice(at, 1); this.#calls.delete(id); }
      }, TIMEOUT);
      this.#calls.set(id, { reply, resolve, reject, timer, size: 0 });
      this.#queue([...frame, ...key, ...payload], { id });
    });
  }

  // Sends calls in order, as far as the window permits.
  #queue(frame, { id }) {
    if (frame.length > this.#terms[0]) throw new Error("too large");
    this.#waiting.push({ frame, id });
    this.#write();
  }

  #write() {
    const [, calls, bytes] = this.#terms;
    while (this.#waiting.length > 0) {
      const [{ frame, id }] = this.#waiting, size = frame.length;
      const fits = this.#used.bytes + size <= bytes || this.#used.bytes <= Math.floor(bytes / 2);
      if (this.#used.calls >= calls || !fits) return;
      this.#waiting.shift();
      this.#used.calls += 1;
      this.#used.bytes += size;
      if (id !== undefined) this.#calls.get(id).size = size;
      this.#send(frame);
    }
    if (this.draining && !this.drained) { this.drained = true; this.#send([DRAINED]); }
  }

  #giveBack(calls, bytes) {
    this.#used.calls -= calls;
    this.#used.bytes -= bytes;
    if (this.#used.calls < 0 || this.#used.bytes < 0) throw new Error("more was given back than had been sent");
    this.#write();
  }

  #frame(heard, ready) {
    const size = heard.bytes.length, kind = heard.byte();
    if (kind === EMIT) {
      const method = this.#served.get(`${heard.take(8)}`);
      Promise.resolve(method && !method.reply && this.#run(method, heard.rest())).catch(console.error).finally(() => this.#pay(size));
    } else if (kind === REQUEST) {
      const id = heard.take(idLength(heard)), timeout = heard.varint();
      this.#serve(`${id}`, id, timeout, this.#served.get(`${heard.take(8)}`), heard.rest());
    } else if (kind === REPLY || kind === FAILURE) {
      const id = heard.varint(), call = this.#calls.get(id);
      if (!call) return;
      this.#calls.delete(id);
      clearTimeout(call.timer);
      if (kind === FAILURE) call.reject(new Error(FAILURES[heard.byte()]));
      else try { call.resolve(decode(call.reply, heard.rest())); } catch (error) { call.reject(error); }
      this.#giveBack(1, call.size);
    } else if (kind === CANCEL) {
      const id = heard.take(idLength(heard));
      this.#fail(`${id}`, id, 11);
    } else if (kind === CREDIT) this.#giveBack(heard.varint(), heard.varint());
    else if (kind === READY) ready();
    else if (kind === GOING_AWAY) { this.draining = true; this.#write(); }
    else if (kind === GOODBYE) { this.reason = `${REASONS[heard.byte()]} ${text.decode(heard.rest())}`.trim(); this.#socket.close(); }
    else if (kind < 0x80) throw new Error(`a frame has the unknown kind ${kind}`);
  }

  async #run(method, payload) { return method.run(...decode(method.args, payload)); }

  // Sends the only reply to a request.
  async #serve(name, id, timeout, method, payload) {
    this.#running.set(name, setTimeout(() => this.#fail(name, id, 10), Math.min(timeout, 2 ** 31 - 1)));
    if (!method) return this.#fail(name, id, 1);
    if (!method.reply) return this.#fail(name, id, 2);
    const { reply } = method, out = [];
    let args;
    try { args = decode(method.args, payload); } catch { return this.#fail(name, id, 3); }
    try {
      const value = await method.run(...args);
      if (reply.good) out.push(0);
      (reply.good ?? reply).write(out, value);
    } catch (error) {
      if (!reply.bad) { console.error(error); return this.#fail(name, id, 9); }
      out.splice(0, out.length, 1, ...encode(reply.bad, error));
    }
    if (this.#ended(name)) this.#send([REPLY, ...id, ...out]);
  }

  #fail(name, id, code) { if (this.#ended(name)) this.#send([FAILURE, ...id, code]); }
  #ended(name) { clearTimeout(this.#running.get(name)); return this.#running.delete(name); }

  // Returns credit for completed emits, a quarter of the window at a time.
  #pay(size) {
    const owed = this.#owed, [, calls, bytes] = this.#terms;
    owed.calls += 1;
    owed.bytes += size;
    if (owed.calls < Math.max(1, Math.floor(calls / 4)) && owed.bytes < Math.max(1, Math.floor(bytes / 4))) return;
    const credit = [CREDIT];
    varint(credit, owed.calls);
    varint(credit, owed.bytes);
    this.#owed = { calls: 0, bytes: 0 };
    this.#send(credit);
  }
}

// The id of an incoming request may have 64 bits. It is returned as the received bytes.
const idLength = reader => {
  let count = 1;
  while (reader.bytes[reader.at + count - 1] >= 128) count += 1;
  return count;
};
