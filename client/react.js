// Hooks for React 18 and later.
import { useCallback, useEffect, useRef, useState } from "react";

const IDLE = { text: "", status: "idle", error: undefined };

/** Runs one answer at a time and renders at most once per frame. Unmounting leaves the answer; the model stops when the grace ends. */
function useTurn(start) {
  const [view, setView] = useState(IDLE);
  const current = useRef();
  const latest = useRef();
  latest.current = start;

  useEffect(() => () => current.current?.leave(), []);

  const run = useCallback((...given) => {
    current.current?.leave();
    const leaving = new AbortController();
    let frame;
    const later = globalThis.requestAnimationFrame ?? setTimeout;
    const show = (answer) => {
      frame ??= later(() => {
        frame = undefined;
        if (!leaving.signal.aborted) setView((view) => (view.status === "running" ? { ...view, text: answer.content } : view));
      });
    };
    const answer = latest.current({ signal: leaving.signal, onEvent: (_, answer) => show(answer) }, ...given);
    if (!answer) return answer;
    current.current = { answer, leave: () => leaving.abort() };
    setView({ ...IDLE, status: "running" });
    const end = (status, error) => {
      if (!leaving.signal.aborted) setView({ text: answer.content, status, error });
    };
    answer.text.then(() => answer.ending).then((ending) => end(ending?.event ?? "cancelled"), (error) => end("failed", error));
    return answer;
  }, []);
  const stop = useCallback(() => current.current?.answer.stop() ?? Promise.resolve(), []);
  return { ...view, run, stop };
}

/** Asks in event handlers: `ask(request)`. In an effect, StrictMode would ask twice. */
export function useAnswer(client, options) {
  const { run, ...view } = useTurn((own, method, ...given) => client[method](...given, { ...options, ...own }));
  const ask = useCallback((request) => run("ask", request), [run]);
  const follow = useCallback((id) => run("follow", id), [run]);
  const resume = useCallback((name) => run("resume", name), [run]);
  return { ...view, ask, follow, resume };
}

export function useConversation(client, options) {
  const [talk] = useState(() => client.conversation(options));
  const { run, ...view } = useTurn((own, method, ...given) => talk[method](...given, own));
  const send = useCallback((content) => run("send", content), [run]);
  const edit = useCallback((index, content) => run("edit", index, content), [run]);
  const regenerate = useCallback(() => run("regenerate"), [run]);
  return { ...view, messages: talk.messages, send, edit, regenerate };
}
