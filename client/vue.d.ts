import type { Answer, AskOptions, ConversationOptions, GenerationRequest, Message, Tokenrill } from "tokenrill";
import type { Ref, ShallowRef } from "vue";

export interface Turn {
  /** The text so far. */
  text: Ref<string>;
  status: Ref<"idle" | "running" | "done" | "cancelled" | "failed">;
  /** Why the status is `failed`, usually a `TokenrillError`. */
  error: ShallowRef<Error | undefined>;
  /** Stops the model at once. The end of the scope only leaves the answer: the model then stops when the grace ends. */
  stop(): Promise<void>;
}

export interface UseAnswer extends Turn {
  ask(request: GenerationRequest): Answer;
  follow(id: string): Answer;
  resume(name: string): Answer | null;
}

export interface UseConversation extends Turn {
  /** Complete turns. The running turn's answer is `text`. */
  messages: ShallowRef<Message[]>;
  send(content: unknown): Answer;
  edit(index: number, content: unknown): Answer;
  regenerate(): Answer;
}

export function useAnswer(client: Tokenrill, options?: Pick<AskOptions, "remember">): UseAnswer;
export function useConversation(client: Tokenrill, options?: ConversationOptions): UseConversation;
