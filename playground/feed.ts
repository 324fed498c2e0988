// Notifications: whoever publishes one, every open page shows it, and a page that is opened later too.
import { publish, subscribe } from "./channel";
import { byId } from "./dom";
import { Notifications, type Notification } from "./notifications";
import { attempt, showState } from "./status";

const CHANNEL = "notifications";

const form = byId<HTMLFormElement>("form");
const title = byId<HTMLInputElement>("title");
const text = byId<HTMLTextAreaElement>("text");
const level = byId<HTMLSelectElement>("level");
const time = byId<HTMLTimeElement>("server-time");
const notifications = new Notifications();

subscribe<Notification>(
  CHANNEL,
  { history: 20, stay: true },
  (event, data, id) => {
    if (event === "notification") notifications.add(data, id);
  },
  showState,
);

subscribe<{ time: string }>("system.time", {}, (event, data) => {
  if (event !== "server-time") return;
  time.dateTime = data.time;
  time.textContent = new Date(data.time).toLocaleTimeString();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    await publish(CHANNEL, {
      event: "notification",
      data: { title: title.value, text: text.value, level: level.value },
    });
    form.reset();
    title.focus();
  });
});
byId("read").addEventListener("click", () => notifications.markRead());
