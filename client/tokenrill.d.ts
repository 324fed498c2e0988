/** The service's address, and what authenticates its caller. */
export interface TokenrillOptions {
  /** The origin of the service; by default that of the page. */
  url?: string;
  /** Headers of each request, or a function that returns them; `expired` is true after the service has refused the last ones as expired. */
  headers?: Record<string, string> | ((expired: boolean) => Record<string, string> | Promise<Record<string, string>>);
  /** `include` if the session is in a cookie of another origin. */
  credentials?: RequestCredentials;
}

/** The body of `POST /v1/generations`; its schema is in `/openapi.json`. */
export type AnswerRequest = Record<string, unknown>;

export interface ReadOptions {
  /** Aborting it closes the connection; the model stops when the grace has passed without another reader. */
  signal?: AbortSignal;
}

export interface AskOptions extends ReadOptions {
  /** A name under which `resume` finds the answer after a reload of the page. */
  remember?: string;
  /** The `Idempotency-Key`; by default a random one. */
  key?: string;
}

/** An event of the native stream, whose data is parsed JSON. */
export interface StreamEvent {
  event: string;
  data: any;
  id: string;
}

/** How an answer ended. */
export interface AnswerEnd {
  event: "done" | "cancelled" | "failed";
  data: any;
}

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface TicketRequest {
  resource: "generation" | "channel";
  id: string;
  scopes?: ("follow" | "stop" | "subscribe" | "publish")[];
  ttl_s?: number;
}

export class TokenrillError extends Error {
  readonly status: number;
  readonly code: string | undefined;
  readonly retryable: boolean;
  readonly requestId: string | undefined;
}

export class EventStreamParser {
  lastEventId: string;
  retry: number | undefined;
  push(bytes: Uint8Array): { event: string; data: string; id: string }[];
}

export class Answer implements AsyncIterable<StreamEvent> {
  /** The text so far. */
  readonly text: string;
  /** The generation's id, once it is known. */
  readonly generation: string | undefined;
  /** Resolves with the terminal event. Rejects with a `TokenrillError` for a refusal, and with the signal's reason after its abort. */
  readonly ended: Promise<AnswerEnd>;
  /** Stops the answer for all its readers. */
  stop(): Promise<void>;
  [Symbol.asyncIterator](): AsyncIterator<StreamEvent>;
}

export class Conversation {
  /** What has been said. Store it to continue another day. */
  messages: Message[];
  /** Asks for the next answer. */
  send(content: string, options?: AskOptions): Answer;
}

export class Tokenrill {
  constructor(options?: TokenrillOptions);
  ask(request: AnswerRequest, options?: AskOptions): Answer;
  follow(generation: string, options?: ReadOptions & { after?: string }): Answer;
  resume(remember: string, options?: ReadOptions): Answer | undefined;
  stop(generation: string): Promise<void>;
  ticket(ticket: TicketRequest): Promise<{ ticket: string; url: string; expires_at: string }>;
  subscribe(channel: string, options?: ReadOptions & { history?: number; after?: string }): AsyncGenerator<StreamEvent>;
  conversation(parameters?: AnswerRequest, messages?: Message[]): Conversation;
}
