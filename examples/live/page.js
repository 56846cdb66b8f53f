// The contracts of contract.rs, and the viewer's handler.
import { connect, emit, list, request, result, string, struct, u16, u32 } from "./sockets.js";

const person = struct({ id: u32, name: string });
const Board = { me: request([], u32), point: emit([u16, u16]), ask: request([string, list(string)], result(list(u32), string)) };
const Viewer = {
  here: emit([list(person)]),
  pointed: emit([u32, u16, u16]),
  vote: request([string, list(string)], u32),
  voted: emit([string, list(string), list(u32)]),
};

const at = id => document.getElementById(id);
const element = (name, text = "", attributes = {}) =>
  Object.assign(document.createElement(name), { textContent: text }, attributes);
const colour = id => `hsl(${id * 137 % 360} 70% 45%)`;
const cursors = new Map();
let me, people = [];

const show = () => {
  at("people").replaceChildren(...people.map(({ id, name }) => {
    const item = element("li", id === me ? `${name} (you)` : name);
    item.style.color = colour(id);
    return item;
  }));
  const ids = new Set(people.map(({ id }) => id));
  for (const [id, cursor] of cursors) if (!ids.has(id)) { cursor.remove(); cursors.delete(id); }
  for (const { id, name } of people) {
    if (id === me || cursors.has(id)) continue;
    const cursor = element("div", name, { className: "cursor" });
    cursor.style.background = colour(id);
    cursor.hidden = true;
    cursors.set(id, cursor);
    at("board").append(cursor);
  }
};

const viewer = {
  here(now) {
    people = now;
    show();
  },
  pointed(id, x, y) {
    const cursor = cursors.get(id);
    if (!cursor) return;
    cursor.hidden = false;
    cursor.style.left = `${x / 10}%`;
    cursor.style.top = `${y / 10}%`;
  },
  // Resolves when the user clicks a choice.
  vote: (question, choices) => new Promise(answer => {
    const buttons = choices.map((choice, number) =>
      element("button", choice, { onclick() { at("vote").replaceChildren(element("p", `${question} ${choice}.`)); answer(number); } }));
    at("vote").replaceChildren(element("p", question), ...buttons);
  }),
  voted(question, choices, votes) {
    const rows = choices.map((choice, number) => element("li", `${choice}: ${votes[number]}`));
    const tally = element("ul");
    tally.append(...rows);
    at("vote").replaceChildren(element("p", question), tally);
  },
};

async function join(name) {
  const url = new URL("live", location.href.replace(/^http/, "ws"));
  const client = await connect(url, { login: [string, name], serve: [["Viewer", Viewer, viewer]] });
  const board = client.group("Board", Board);
  me = await board.me();
  show();
  at("join").hidden = true;
  at("room").hidden = false;
  document.title = `${name} – live board`;
  let last = 0;
  at("board").onpointermove = ({ clientX, clientY }) => {
    if (Date.now() - last < 30) return;
    last = Date.now();
    const { left, top, width, height } = at("board").getBoundingClientRect();
    const part = (from, all) => Math.round(Math.max(0, Math.min(1, from / all)) * 1000);
    board.point(part(clientX - left, width), part(clientY - top, height));
  };
  at("ask").onsubmit = event => {
    event.preventDefault();
    const choices = at("choices").value.split(",").map(choice => choice.trim()).filter(Boolean);
    board.ask(at("question").value, choices).catch(error => at("status").textContent = error.message ?? error);
  };
  client.closed.then(reason => at("status").textContent = `The connection has ended: ${reason}.`);
}

at("join").onsubmit = event => {
  event.preventDefault();
  at("status").textContent = "";
  join(at("name").value).catch(error => at("status").textContent = error.message);
};
