// Composables for Vue 3.3 and later.
import { onScopeDispose, ref, shallowRef } from "vue";

/** Runs one answer at a time. The end of the scope leaves the answer; the model stops when the grace ends. */
function useTurn() {
  const text = ref("");
  const status = ref("idle");
  const error = shallowRef();
  let current;

  const run = (start) => {
    current?.leave();
    const leaving = new AbortController();
    const { signal } = leaving;
    const onEvent = (_, { content }) => {
      if (!signal.aborted) text.value = content;
    };
    const answer = start({ signal, onEvent });
    if (!answer) return answer;
    current = { answer, leave: () => leaving.abort() };
    [text.value, status.value, error.value] = ["", "running", undefined];
    const end = (how, why) => {
      if (!signal.aborted) [status.value, error.value] = [how, why];
    };
    answer.text.then(() => answer.ending).then((ending) => end(ending?.event ?? "cancelled"), (why) => end("failed", why));
    return answer;
  };
  onScopeDispose(() => current?.leave());
  const stop = () => current?.answer.stop() ?? Promise.resolve();
  return { run, view: { text, status, error, stop } };
}

export function useAnswer(client, options) {
  const { run, view } = useTurn();
  const ask = (request) => run((own) => client.ask(request, { ...options, ...own }));
  const follow = (id) => run((own) => client.follow(id, { ...options, ...own }));
  const resume = (name) => run((own) => client.resume(name, own));
  return { ...view, ask, follow, resume };
}

export function useConversation(client, options) {
  const { run, view } = useTurn();
  const talk = client.conversation(options);
  const messages = shallowRef(talk.messages);
  const turn = (start) =>
    run((own) => {
      const onEvent = (event, answer) => {
        own.onEvent(event, answer);
        messages.value = talk.messages;
      };
      return start({ ...own, onEvent });
    });
  const send = (content) => turn((own) => talk.send(content, own));
  const edit = (index, content) => turn((own) => talk.edit(index, content, own));
  const regenerate = () => turn((own) => talk.regenerate(own));
  return { ...view, messages, send, edit, regenerate };
}
