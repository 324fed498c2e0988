// Types of tokenrill.js. Every field of requests and events: openapi/tokenrill.d.ts of the repository.

export interface Options {
  /** The service, such as `https://chat.example.com`. Default: the page's own origin. */
  url?: string;
  /**
   * Headers of each request. A function is called before each request, so that a reconnect in mid-answer has a valid
   * token. After a 401 it is called again with `expired` true, and the request is repeated; the second 401 is
   * an error.
   */
  headers?: Record<string, string> | ((expired: boolean) => Record<string, string> | Promise<Record<string, string>>);
  /** `include` if the session is in a cookie of another origin. */
  credentials?: "omit" | "same-origin" | "include";
  /** Failed attempts in a row before the error is final. The waits double from 1 s to 30 s. Default: 10. */
  retries?: number;
  /** A connection without a byte for this time is replaced, in milliseconds. Default: 45,000, three heartbeats. */
  idleTimeout?: number;
}

export interface Message {
  role: "system" | "developer" | "user" | "assistant" | "tool";
  content: unknown;
  [field: string]: unknown;
}

/** `input` or `messages`, and any other field of `POST /v1/generations`. */
export interface GenerationRequest {
  input?: string | null | undefined;
  messages?: readonly unknown[] | null | undefined;
  model?: string | null | undefined;
  [field: string]: unknown;
}

/** RFC 9457, with the fields of this service. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  retryable: boolean;
  retry_after_ms?: number | null;
  request_id: string;
}

export interface Usage {
  input_tokens?: number | null;
  output_tokens?: number | null;
  estimated: boolean;
  [field: string]: unknown;
}

type Block<Name extends string, Data> = {
  event: Name;
  data: Data;
  /** Absent for `queued`, which the service does not keep. */
  id?: string | undefined;
};

/** The event that ends an answer. */
export type Ending =
  | Block<"done", { finish_reason: string; usage: Usage; [field: string]: unknown }>
  | Block<"cancelled", { reason: "client_request" | "abandoned"; usage?: Usage | null; [field: string]: unknown }>
  | Block<"failed", { error: Problem; usage?: Usage | null; [field: string]: unknown }>;

/** Ignore names that you do not know: a minor version of the service may add some. */
export type GenerationEvent =
  | Block<"start", { generation: string; model: string; created_at: string; [field: string]: unknown }>
  | Block<"queued", { position: number; eta_ms?: number | null; [field: string]: unknown }>
  | Block<"delta" | "reasoning" | "refusal", { text: string; choice?: number; [field: string]: unknown }>
  | Block<"tool_call", { index: number; id?: string | null; name?: string | null; arguments?: string | null; [field: string]: unknown }>
  | Block<"part", { delta: unknown; [field: string]: unknown }>
  | Block<"restart", { from: number; reason: string; [field: string]: unknown }>
  | Ending;

export interface ReadOptions {
  /**
   * Closes the connection. Other viewers are not affected; without any, the model stops when the grace ends (10 s by
   * default). Every promise of the answer rejects with the signal's reason.
   */
  signal?: AbortSignal | undefined;
  /** Called with each event in order. An exception from it ends the answer with that exception. */
  onEvent?: ((event: GenerationEvent, answer: Answer) => void) | undefined;
  /** A name in `sessionStorage` under which `resume` finds the answer after a reload. Removed at the answer's end. */
  remember?: string | undefined;
}

export interface AskOptions extends ReadOptions {
  /** Two requests with one key start one generation. Default: random. */
  idempotencyKey?: string | undefined;
}

export interface FollowOptions extends ReadOptions {
  /** The id of the last event that is already known. Default: from the first event. */
  after?: string | undefined;
}

/**
 * An answer. It is read from the start on, whether or not it is iterated; each iteration begins at its first event and
 * ends after its terminal event. `break` ends the iteration only.
 */
export interface Answer extends AsyncIterable<GenerationEvent> {
  /** The text so far. */
  readonly content: string;
  /** Resolves with the generation's id. */
  readonly id: Promise<string>;
  /** Resolves with the whole text, that of a stopped answer too; rejects with a `TokenrillError` if the answer failed. */
  readonly text: Promise<string>;
  /**
   * Resolves with the terminal event; with `undefined` if it was stopped before it began, or followed after its end.
   * Rejects if the request was refused, the service unreachable or the signal aborted.
   */
  readonly ending: Promise<Ending | undefined>;
  /** Stops the model at once, for every viewer. The answer then ends with `cancelled`. */
  stop(): Promise<void>;
}

export interface SubscribeOptions {
  /** Closes the connection; so does leaving the loop. */
  signal?: AbortSignal;
  /** The id of the last event that is already known. */
  after?: string;
  /** How many earlier events to receive first. */
  history?: number;
  /** Whether to receive `joined` and `left`. */
  presence?: boolean;
}

export interface ChannelEvent {
  /** `message` if it was published without a name. The first event is `connected`. */
  event: string;
  data: any;
  id?: string | undefined;
}

export interface TicketRequest {
  resource: "generation" | "channel";
  /** The generation's id, or the channel's name. */
  id: string;
  /** Default: `follow` or `subscribe`. */
  scopes?: ("follow" | "stop" | "subscribe" | "publish")[];
  /** The lifetime in seconds. Default: 60. */
  ttl_s?: number;
}

export interface Ticket {
  ticket: string;
  /** With the ticket in it: pass it to `EventSource`. */
  url: string;
  /** RFC 3339. */
  expires_at: string;
}

export interface ConversationOptions {
  system?: string;
  /** An earlier conversation's messages, instead of `system`. */
  messages?: Message[];
  model?: string;
  [parameter: string]: unknown;
}

/** Keeps the messages, and sends all of them with each turn. A failed turn leaves them as they were. */
export interface Conversation {
  messages: Message[];
  /** Asks, and appends this message and the answer at the answer's end. */
  send(content: unknown, options?: AskOptions): Answer;
  /** Replaces the message at this index and removes the later ones. */
  edit(index: number, content: unknown, options?: AskOptions): Answer;
  /** Asks for another answer to the last message of the user. */
  regenerate(options?: AskOptions): Answer;
}

export class Tokenrill {
  readonly url: string;
  constructor(options?: Options);
  /** Starts a generation and reads it over any number of connections. */
  ask(request: GenerationRequest, options?: AskOptions): Answer;
  /** Reads an answer that was started elsewhere. */
  follow(id: string, options?: FollowOptions): Answer;
  /** Continues the answer that `ask` remembered, from its first event; `null` if there is none. */
  resume(name: string, options?: ReadOptions): Answer | null;
  /** Stops a generation at once, for every viewer. Can be called while the page unloads. */
  stop(id: string): Promise<void>;
  /** Receives a channel's events, each once. It has no end. `gap` reports events that the channel no longer keeps. */
  subscribe(channel: string, options?: SubscribeOptions): AsyncGenerator<ChannelEvent, void, undefined>;
  /** Returns a URL that an `EventSource` can open, which cannot send headers. */
  ticket(request: TicketRequest): Promise<Ticket>;
  conversation(options?: ConversationOptions): Conversation;
}

/** A refused request, a failed answer, or a service that cannot be reached. */
export class TokenrillError extends Error {
  /** The HTTP status; 0 if there was no response. */
  readonly status: number;
  /** A code of the service's OpenAPI document; `connection_lost`, `stopped`, or `http_502` for a response of another server. */
  readonly code: string;
  readonly detail: string;
  /** Include it in a report to the operator. */
  readonly requestId?: string | null;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Milliseconds to wait before that, if known. */
  readonly retryAfter?: number | null;
}

/** Parses an event stream as WHATWG HTML 9.2.6 defines; `id` is that of the block itself. */
export function parse(
  body: ReadableStream<Uint8Array>,
  state?: { lastEventId?: string; retry?: number },
  onRead?: () => void,
): AsyncGenerator<{ event: string; data: string; id: string | undefined }, void, undefined>;
