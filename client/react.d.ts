import type { Answer, AskOptions, ConversationOptions, GenerationRequest, Message, Tokenrill } from "tokenrill";

export interface Turn {
  /** The text so far, updated at most once per frame. */
  text: string;
  status: "idle" | "running" | "done" | "cancelled" | "failed";
  /** Why the status is `failed`, usually a `TokenrillError`. */
  error: Error | undefined;
  /** Stops the model at once. Unmounting only leaves the answer: the model then stops when the grace ends. */
  stop(): Promise<void>;
}

export interface UseAnswer extends Turn {
  /** Call it in an event handler: in an effect, StrictMode would ask twice. */
  ask(request: GenerationRequest): Answer;
  follow(id: string): Answer;
  resume(name: string): Answer | null;
}

export interface UseConversation extends Turn {
  /** Complete turns. The running turn's answer is `text`. */
  messages: Message[];
  send(content: unknown): Answer;
  edit(index: number, content: unknown): Answer;
  regenerate(): Answer;
}

export function useAnswer(client: Tokenrill, options?: Pick<AskOptions, "remember">): UseAnswer;
export function useConversation(client: Tokenrill, options?: ConversationOptions): UseConversation;
