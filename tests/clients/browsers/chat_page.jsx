// A page with `useChat`, as its documentation describes it, for the suite to use: StrictMode, messages in localStorage.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } from "ai";
import { StrictMode, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

let chat;
let options;

const page = (window.page = {
  /** How often a tool of the page ran. */
  tools: 0,
  /** The methods of the requests of the transport. */
  requests: [],
  open(given) {
    options = given;
    const kept = JSON.parse(localStorage.getItem(given.id) ?? "[]");
    root.render(
      <StrictMode>
        <Chat id={given.id} kept={kept} />
      </StrictMode>,
    );
  },
  send: (text, more) => void chat.sendMessage({ text, ...more }, {}),
  stop: () => chat.stop(),
  stopNow: async () => (await fetch(`${options.api}/${encodeURIComponent(options.id)}/stop`, { method: "POST", headers: options.headers })).status,
  regenerate: () => void chat.regenerate(),
  resume: () => void chat.resumeStream(),
  look: () =>
    chat && {
      status: chat.status,
      error: chat.error?.message ?? "",
      messages: chat.messages.map(({ id, role, parts }) => ({ id, role, parts: parts.map(look) })),
      tools: page.tools,
      requests: page.requests,
    },
});

const look = ({ type, text, state, output, input }) =>
  type.startsWith("tool-") ? { type, state, input, output } : type === "step-start" ? { type } : { type, text, state };

function counted(url, init) {
  page.requests.push(init?.method ?? "GET");
  return fetch(url, init);
}

function Chat({ id, kept }) {
  const [transport] = useState(() => new DefaultChatTransport({ api: options.api, headers: options.headers, credentials: options.credentials, fetch: counted }));
  const current = useRef();
  chat = useChat({
    id,
    messages: kept,
    resume: true,
    transport,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    onToolCall({ toolCall }) {
      page.tools += 1;
      current.current.addToolOutput({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: `Rain in ${toolCall.input.city}.` });
    },
  });
  current.current = chat;
  useEffect(() => localStorage.setItem(id, JSON.stringify(chat.messages)), [id, chat.messages]);
  return chat.messages.map((message) => <p key={message.id}>{JSON.stringify(message.parts)}</p>);
}

const root = createRoot(document.body.appendChild(document.createElement("div")));
