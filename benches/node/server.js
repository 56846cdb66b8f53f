// The server of the subject `socket.io`. It prints its addresses, serves, and executes commands of
// the control connection, see src/control.rs.

import { createServer } from "node:http";
import net from "node:net";
import readline from "node:readline";
import { setImmediate, setTimeout } from "node:timers/promises";
import { Server } from "socket.io";

const ROOM = "lobby";

let emits = 0;
let awaited = Infinity;
let reached;

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false, maxHttpBufferSize: 8e6 });

// Saves memory, as the performance page of the library's documentation advises.
io.engine.on("connection", (connection) => {
  connection.request = null;
});

io.on("connection", (socket) => {
  socket.on("echo", (order, reply) => reply(order));
  socket.on("large", (data, reply) => reply(data));
  socket.on("join", (_, reply) => {
    socket.join(ROOM).unwrap();
    reply(null);
  });
  socket.on("placed", () => {
    emits += 1;
    if (emits >= awaited) {
      awaited = Infinity;
      reached();
    }
  });
});

async function broadcast({ messages, size, pace }) {
  const started = performance.now();
  for (let message = 0; message < messages; message += 1) {
    if (pace.per_second) {
      await setTimeout(Math.max(0, started + (message * 1000) / pace.per_second - performance.now()));
    }
    const sent = Math.round((performance.timeOrigin + performance.now()) * 1e6);
    io.to(ROOM).emit("news", { sent, text: "n".repeat(size - 10) });
    if (pace === "steady") {
      await setImmediate();
    }
  }
  return "done";
}

async function broadcastRequests(requests) {
  const started = performance.now();
  let replies = 0;
  for (let id = 0; id < requests; id += 1) {
    const order = { id, item: "broadsword", count: 3, price: 12.5 };
    replies += (await io.to(ROOM).timeout(30_000).emitWithAck("echo", order)).length;
  }
  return { replies: { replies, seconds: (performance.now() - started) / 1000 } };
}

async function execute(command) {
  if (command.emits !== undefined) {
    if (emits < command.emits) {
      await new Promise((resolve) => {
        awaited = command.emits;
        reached = resolve;
      });
    }
    return "done";
  }
  return command.broadcast ? broadcast(command.broadcast) : broadcastRequests(command.broadcast_requests);
}

const control = net.createServer({ noDelay: true }, async (connection) => {
  // The client's process may be killed.
  connection.on("error", () => connection.destroy());
  for await (const line of readline.createInterface({ input: connection })) {
    const outcome = await execute(JSON.parse(line)).catch((error) => ({ failed: String(error) }));
    connection.write(JSON.stringify(outcome) + "\n");
  }
});

http.listen(0, "127.0.0.1", () => {
  control.listen(0, "127.0.0.1", () => {
    const [address, controls] = [http, control].map((server) => `127.0.0.1:${server.address().port}`);
    console.log(JSON.stringify({ address, control: controls }));
  });
});
