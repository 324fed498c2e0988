// A chat room with people and a model: its channel has what everybody says, and what the model answers.
import { publish, subscribe, type Connected } from "./channel";
import { byId } from "./dom";
import { cancel } from "./generation";
import { Messages, type AnswerData, type Turn } from "./messages";
import { People } from "./people";
import { credential } from "./key";
import { attempt, showState } from "./status";

/** What the events of the room have in their data: which of it depends on the event. */
type RoomData = Connected & AnswerData & { name: string; text: string };

const NAME = "tokenrill-name";
const room = location.hash.slice(1) || "lobby";
const form = byId<HTMLFormElement>("form");
const name = byId<HTMLInputElement>("name");
const text = byId<HTMLInputElement>("text");
const ask = byId<HTMLInputElement>("ask");
const model = byId<HTMLInputElement>("model");
const messages = new Messages((generation) => attempt(() => cancel(generation)));
const people = new People(room);

byId("room").textContent = room;
name.value = sessionStorage.getItem(NAME) ?? `guest-${crypto.randomUUID().slice(0, 4)}`;
remember();

subscribe<RoomData>(room, { history: 100, presence: true, stay: true }, heard, showState);

function heard(event: string, data: RoomData, id: string): void {
  switch (event) {
    case "connected":
      return people.connected(data, name.value);
    case "joined":
      return people.joined(data.connection, name.value);
    case "left":
      return people.left(data.connection);
    case "hello":
      return people.learn(data.connection, data.name);
    case "typing":
      return data.name === name.value ? undefined : people.types(data.name);
    case "said":
      people.stoppedTyping(data.name);
      return messages.say(id, data.name, data.text);
    case "gap":
      return messages.say(id, "Tokenrill", "Some of what was said here is no longer kept.");
    default:
      if (data.generation) messages.answer(event, data);
  }
}

/** The answer comes as events of the room, to everybody in it. */
async function askModel(turns: Turn[]): Promise<void> {
  const named = model.value.trim();
  const response = await fetch("/v1/generations", {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "respond-async", ...credential() },
    body: JSON.stringify({ channel: room, messages: turns, ...(named && { model: named }) }),
  });
  if (!response.ok) throw new Error(`the model was not asked: ${response.status} ${response.statusText}`);
}

async function say(): Promise<void> {
  const said = { name: name.value, text: text.value };
  const turns = messages.last(19);
  text.value = "";
  people.sent();
  try {
    await publish(room, { event: "said", data: said });
  } catch (error) {
    text.value ||= said.text;
    throw error;
  }
  if (ask.checked) await askModel([...turns, { role: "user", content: `${said.name}: ${said.text}` }]);
}

function remember(): void {
  sessionStorage.setItem(NAME, name.value);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(say);
});
text.addEventListener("input", () => people.typing(name.value));
name.addEventListener("change", () => {
  remember();
  people.renamed(name.value);
});
addEventListener("hashchange", () => location.reload());
