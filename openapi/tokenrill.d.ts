// Generated from openapi.json by `make openapi`. Do not edit.

export interface paths {
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the process lives. */
        get: operations["healthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The figures.
         * @description In OpenMetrics text, as Prometheus scrapes it.
         */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whether new generations are taken.
         * @description `503` with the reason otherwise: while the service is draining, when live generations can still be followed, and
         *     while the keys of the identity provider could never be fetched. Upstreams are not asked: one that fails would take the
         *     others' callers with it.
         */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/channels/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Inspect a channel.
         * @description Who subscribes, where its log ends and what of it is kept. One that nobody has named yet is empty.
         */
        get: operations["inspect_channel"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/channels/{name}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Subscribe to a channel.
         * @description The first event is `connected`. Then come those after `Last-Event-ID` (or `after`), or the last so many
         *     (`history`), then each new one, for ever: a stream without an event for `channels.idle_timeout` is broken off,
         *     and its client comes back by itself. Events have the names that their publishers gave them; what generations say
         *     that answer in the channel comes as on their own wire, with `generation` in the data. Where events of the history were
         *     evicted to make room for others, or the first events of an answer are no longer kept, there is a `gap` in their place.
         *
         *     Where `Accept` names `application/json` and not `text/event-stream`, the answer is one page of events as JSON, as
         *     soon as there is one, at most `wait` from now: for clients without event streams.
         */
        get: operations["subscribe"];
        put?: never;
        /**
         * Publish an event.
         * @description Every subscriber gets it, or only those that `to` names. It is kept for those who come later, unless it is
         *     `ephemeral`: then only who is there gets it.
         */
        post: operations["publish_event"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chat/completions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Complete a chat, as OpenAI's API does.
         * @description Any OpenAI SDK works with `/v1` here as its base URL. With `"stream": true` the answer is chunks,
         *     `[DONE]` last. The head is held back for the first token, at most `generation.head_wait`: until then
         *     a failure is a status, after that an `error` in the stream, without `[DONE]`. The header
         *     `Tokenrill-Generation` names the generation: the same chunks, with ids, are at
         *     `GET /v1/generations/{id}/events?format=openai`.
         *
         *     Closing the connection stops the model, streaming or not, unless a grace is asked for: by the field
         *     `grace_ms` or the header. A request with an `Idempotency-Key` that has been used is answered by the
         *     generation that it started, from the beginning, as long as that is kept.
         */
        post: operations["create_chat_completion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/connections": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the requests in flight.
         * @description Event streams, requests that wait for JSON, and requests whose body is not complete.
         */
        get: operations["list_connections"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/connections/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Close a connection.
         * @description An event stream breaks off without an ending, so its client connects again by itself, unless it is refused then. A
         *     wait is answered with the state so far; a request whose body is not complete is refused.
         */
        delete: operations["close_connection"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/generations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List your generations.
         * @description Those that run and those that are kept, newest first. Without authentication everybody is the same
         *     caller, ids are what lets one see a generation, and the list is empty.
         */
        get: operations["list_generations"];
        put?: never;
        /**
         * Start a generation.
         * @description The answer is an event stream where `Accept` names `text/event-stream`; else the snapshot at the end where it names
         *     `application/json`; else the snapshot where `stream` is `false`; else an event stream. With `Prefer: respond-async`
         *     (RFC 7240) it is `202` with the snapshot at once, and the generation runs on without a viewer.
         *
         *     When the last viewer has been gone for the grace, the generation ends as `cancelled` and the model
         *     stops, unless `on_disconnect` is `continue`.
         *
         *     A request with `Last-Event-ID` starts nothing: it follows the generation that the id names, after
         *     that event, and its body is ignored. One with an `Idempotency-Key` that has been used follows the
         *     generation that it started, from the beginning; with another body it is refused. Both answers say
         *     `Tokenrill-Attached: existing`. A key is known as long as its generation is kept.
         */
        post: operations["create_generation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/generations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Inspect a generation.
         * @description Its status and what has come of the answer so far. With `after` and `wait` the answer comes when
         *     there is more than that, when the generation has ended, or when the wait is over: for clients that
         *     cannot read event streams. Who waits counts as a viewer.
         */
        get: operations["inspect_generation"];
        put?: never;
        post?: never;
        /**
         * Stop and erase a generation.
         * @description As `cancel`; its record is then gone, and every later request for it is `404`.
         */
        delete: operations["erase_generation"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/generations/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop a generation.
         * @description Every viewer receives `cancelled`, and the model stops. One that has ended stays as it ended. The
         *     body, if any, is not read, so that `fetch(..., {keepalive: true})` can send this while a page unloads.
         */
        post: operations["cancel_generation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/generations/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow a generation.
         * @description Every event after a position, then each new one, until the terminal event. The position is
         *     `Last-Event-ID`, else `after`, else the beginning. Any number of viewers may follow at once.
         */
        get: operations["follow_generation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the models.
         * @description Those of every upstream, and `demo`, that the caller may ask. Upstreams are asked again in the background when the list
         *     is older than 30 s; one that fails keeps its last list.
         */
        get: operations["list_models"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Show a model.
         * @description One of the list. A model that no upstream lists may answer all the same.
         */
        get: operations["show_model"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/prompts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the prompts.
         * @description How each is used; their texts stay here.
         */
        get: operations["list_prompts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/prompts/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Show a prompt.
         * @description With `id@version` only as long as it is of that version.
         */
        get: operations["show_prompt"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/prompts/{id}/render": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Render a prompt.
         * @description The messages that it comes to, without a call of a model. For those who write prompts: it tells their texts, and so
         *     is the operator's.
         */
        post: operations["render_prompt"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tickets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a ticket.
         * @description For `EventSource`, which can set no header: a short-lived address for one of the caller's generations, or for a
         *     channel.
         *     An `EventSource` comes back with the address that it was given, so let the ticket be good for as long as
         *     it may have to.
         */
        post: operations["create_ticket"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description Somebody ended the generation; what came of the answer stands. */
        CancelledData: {
            reason: components["schemas"]["CancelledReason"];
            timings: components["schemas"]["Timings"];
            usage: components["schemas"]["Usage"];
        };
        /**
         * @description Who ended it.
         * @enum {string}
         */
        CancelledReason: "client_request" | "abandoned";
        /** @description A channel. */
        Channel: {
            history: components["schemas"]["ChannelHistory"];
            /**
             * Format: int64
             * @description Where its log ends; absent where there is none.
             */
            last_sequence?: number | null;
            name: string;
            /** @description The first thousand of them. */
            present: components["schemas"]["Subscriber"][];
            /** Format: int64 */
            subscribers: number;
        };
        /** @description One event, as an event stream would have it. */
        ChannelEvent: {
            data: unknown;
            /** @description Absent where it has no name. */
            event?: string | null;
            /** @description Absent from what is not kept. */
            id?: string | null;
        };
        /** @description What is kept for who comes later. */
        ChannelHistory: {
            /**
             * Format: int64
             * @description The number before the first of them.
             */
            after: number;
            /** Format: int64 */
            bytes: number;
            /**
             * Format: int64
             * @description A generation's answer counts as one.
             */
            events: number;
        };
        /** @description One choice of the answer. */
        Choice: {
            /** @description Why the choice ended, once the model has come to its end. */
            finish_reason?: string | null;
            /** @description Present and true where the provider gave no reason: `stop` then stands in for it. */
            finish_reason_missing?: boolean | null;
            reasoning?: string;
            refusal?: string;
            text: string;
            tool_calls?: components["schemas"]["ToolCall"][];
        };
        /** @description The subscription has begun; always the first event. */
        ConnectedData: {
            channel: string;
            /** @description This stream, by which an event can be sent to it alone. */
            connection: string;
            /** @description Who subscribes, with `presence=true`: the first thousand, this one included. */
            present?: components["schemas"]["Subscriber"][] | null;
            /**
             * Format: int64
             * @description How many subscribe, this one included.
             */
            subscribers: number;
        };
        /** @description One request in flight. */
        Connection: {
            /** @description From where it comes, where nobody is authenticated: of an IPv6 address the first 64 bits. */
            address?: string | null;
            /**
             * Format: int64
             * @description Bytes that were written, heartbeats included.
             */
            bytes: number;
            /**
             * Format: int64
             * @description Events of the log that were sent, and what was told of the line.
             */
            events: number;
            /** @example conn_AAAAAAAAAAAAAAAAAAAAAA */
            id: string;
            /**
             * Format: int64
             * @description How long nothing has been written to it, in milliseconds; heartbeats are written too.
             */
            idle_ms: number;
            /** @description Whose subject that is, where it is one. */
            issuer?: string | null;
            kind: components["schemas"]["ConnectionKind"];
            /** @description Whose it is: the name of a key, or a token's subject. Absent where nobody is authenticated. */
            principal?: string | null;
            /**
             * Format: date-time
             * @description When it was opened (RFC 3339, UTC).
             */
            since: string;
        };
        /**
         * @description What a connection does, in the list of connections.
         * @enum {string}
         */
        ConnectionKind: "request_body" | "wait" | "event_stream";
        /** @description The requests in flight. */
        ConnectionList: {
            /** @description The latest first. */
            data: components["schemas"]["Connection"][];
            /**
             * Format: int64
             * @description How many there are.
             */
            total: number;
        };
        ConnectionRecipient: {
            /** @example conn_AAAAAAAAAAAAAAAAAAAAAA */
            connection: string;
        };
        /** @description A piece of the answer. */
        DeltaData: {
            /**
             * Format: int32
             * @description The choice it belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            /** @description Log probabilities as the provider gave them, where the request asked for them. */
            logprobs?: unknown;
            text: string;
        };
        /** @description The model came to its end; the answer is complete. */
        DoneData: {
            /** @description Why each choice ended, where there are several. */
            choices?: components["schemas"]["FinishedChoice"][] | null;
            /**
             * @description Why the first choice ended: `stop`, `length`, `tool_calls`, `content_filter`, or another word of the provider's.
             * @example stop
             */
            finish_reason: string;
            /** @description Present and true where the provider gave no reason: `stop` then stands in for it. */
            finish_reason_missing?: boolean;
            timings: components["schemas"]["Timings"];
            usage: components["schemas"]["Usage"];
        };
        /**
         * @description The closed list of codes. A new one must answer every question below.
         * @enum {string}
         */
        ErrorCode: "invalid_json" | "invalid_request" | "unauthenticated" | "forbidden" | "issuer_unavailable" | "model_required" | "model_not_found" | "generation_not_found" | "connection_not_found" | "prompt_not_found" | "invalid_variables" | "channel_full" | "misdirected" | "route_not_found" | "method_not_allowed" | "not_acceptable" | "request_timeout" | "body_too_large" | "unsupported_media_type" | "idempotency_conflict" | "rate_limited" | "too_many_generations" | "too_many_connections" | "cancelled" | "upstream_unreachable" | "upstream_auth" | "upstream_rate_limited" | "upstream_overloaded" | "upstream_rejected" | "upstream_misconfigured" | "upstream_error" | "upstream_empty" | "upstream_timeout" | "upstream_disconnected" | "upstream_malformed" | "deadline_exceeded" | "too_large" | "overloaded" | "shutting_down" | "history_lost" | "internal";
        /**
         * @description How `data` is written.
         * @enum {string}
         */
        EventEncoding: "base64";
        /** @description Some events of a channel, in order. */
        EventPage: {
            /** @description Empty where the wait was over before there was one. */
            events: components["schemas"]["ChannelEvent"][];
            gap?: components["schemas"]["GapData"] | null;
            /**
             * Format: int64
             * @description What the next request gives as `after`.
             */
            last_sequence: number;
        };
        /** @description One stream, or one caller on all of its streams. */
        EventRecipient: components["schemas"]["ConnectionRecipient"] | components["schemas"]["PrincipalRecipient"];
        /**
         * @description The generation could not be brought to its end, or the request was refused before it began; in the
         *     latter case there is only the error.
         */
        FailedData: {
            error: components["schemas"]["Problem"];
            timings?: components["schemas"]["Timings"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description What is wrong with one field of the body. */
        FieldError: {
            detail: string;
            /**
             * @description Where it is (JSON Pointer, RFC 6901).
             * @example /messages/0/role
             */
            pointer: string;
        };
        /** @description Why one of several choices ended. */
        FinishedChoice: {
            /** Format: int32 */
            choice: number;
            finish_reason: string;
            /** @description Present and true where the provider gave no reason: `stop` then stands in for it. */
            finish_reason_missing?: boolean;
        };
        /** @description Of the last hundred generations; null before the first. */
        FirstTokenFigures: {
            /** Format: double */
            p50: number | null;
            /** Format: double */
            p95: number | null;
        };
        /**
         * @description The wires in which a generation can be followed.
         * @enum {string}
         */
        Format: "native" | "openai";
        /**
         * @description Events from here to there, both included, are no longer kept: what the client shows may lack something. In
         *     between may be numbers that no event ever had.
         */
        GapData: {
            /** Format: int64 */
            from: number;
            /** Format: int64 */
            to: number;
        };
        /** @description What a generation has come to so far. `state_json.rs` writes it, and holds no text. */
        Generation: components["schemas"]["Choice"] & {
            /** @description All choices, where there are several. */
            choices?: components["schemas"]["NumberedChoice"][];
            /**
             * Format: date-time
             * @description When it was accepted (RFC 3339, UTC).
             */
            created_at: string;
            error?: components["schemas"]["Problem"] | null;
            id: string;
            /**
             * Format: int64
             * @description The position of the last event that this includes: the events after it are at
             *     `GET /v1/generations/{id}/events?after=` and this number.
             */
            last_sequence: number;
            /** @description As the request gave it. */
            metadata?: {
                [key: string]: string;
            };
            /** @description The model that answers. */
            model: string;
            /**
             * @description The prompt that it was made of, `id@version`, where it was made of one.
             * @example summarise@0123456789ab
             */
            prompt?: string | null;
            reason?: components["schemas"]["CancelledReason"] | null;
            status: components["schemas"]["Status"];
            timings?: components["schemas"]["Timings"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description Generations: those that run or wait, and those that ended. */
        GenerationFigures: {
            /** Format: int64 */
            cancelled: number;
            /** Format: int64 */
            done: number;
            /** Format: int64 */
            failed: number;
            /** Format: int64 */
            running: number;
            /** Format: int64 */
            waiting: number;
        };
        /** @description A page of the caller's generations, newest first. */
        GenerationList: {
            data: components["schemas"]["GenerationSummary"][];
            /** @description The `cursor` of the next page, where there may be one. A page may be short and still have a next. */
            next?: string | null;
        };
        /** @description A generation without what it said. */
        GenerationSummary: {
            /**
             * Format: date-time
             * @description When it was accepted (RFC 3339, UTC).
             */
            created_at: string;
            id: string;
            /**
             * Format: int64
             * @description The position of its last event.
             */
            last_sequence: number;
            /** @description As the request gave it. */
            metadata?: {
                [key: string]: string;
            };
            /** @description The model that answers. */
            model: string;
            status: components["schemas"]["Status"];
            timings?: components["schemas"]["Timings"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description That the service is there. */
        Health: {
            /** @example ok */
            status: string;
        };
        /** @description One message. What else it has goes to the model's server as it is. */
        Message: {
            /** @description A string, an array of parts, or whatever else the model's server reads. */
            content?: unknown;
            /**
             * @description Such as `system`, `developer`, `user`, `assistant` or `tool`; which there are is for the model's server to say.
             * @example user
             */
            role: string;
        };
        /** @description `metrics` of `system.metrics`, each second. What is no rate is as of now, or since the start. */
        MetricsData: {
            /**
             * Format: int64
             * @description What the logs of generations and channels hold.
             */
            event_log_bytes: number;
            first_token_ms: components["schemas"]["FirstTokenFigures"];
            generations: components["schemas"]["GenerationFigures"];
            /**
             * Format: int64
             * @description What the process holds of the machine's memory; null where the system does not say.
             */
            memory_bytes: number | null;
            /**
             * Format: int64
             * @description Requests beyond a limit.
             */
            refusals: number;
            /**
             * Format: int64
             * @description Viewers and subscribers that are there.
             */
            streams: number;
            /** Format: int64 */
            subscribers: number;
            /**
             * Format: date-time
             * @description RFC 3339, UTC.
             */
            time: string;
            tokens: components["schemas"]["TokenFigures"];
            /**
             * Format: double
             * @description Pieces of answers in the last second, which are tokens as a rule.
             */
            tokens_per_second: number;
        };
        /** @description One model. */
        Model: {
            /**
             * Format: int64
             * @description Seconds since 1970; 0 where the upstream does not say.
             */
            created: number;
            /** @example demo */
            id: string;
            /** @example model */
            object: string;
            /** @example tokenrill */
            owned_by: string;
        };
        /** @description A list of models, in OpenAI's shape. */
        ModelList: {
            data: components["schemas"]["Model"][];
            /** @example list */
            object: string;
        };
        /**
         * @description A chat to be completed: everything that `NewGeneration` has, but for `input`. Fields that are not listed here go to the
         *     model's server as they are.
         */
        NewChatCompletion: {
            /**
             * @description A channel in which the answer is told too, each event with `generation` in its data: demands `publish` for it.
             *     Its subscribers are no viewers, and what it has been told it keeps by its own rules, also where the generation is
             *     erased.
             */
            channel?: string | null;
            /** Format: double */
            frequency_penalty?: number | null;
            /**
             * Format: int64
             * @description How long to wait for a viewer to come back before `cancel`, in milliseconds, at most `generation.grace`.
             *     Absent: that setting; for chat completions 0.
             */
            grace_ms?: number | null;
            logit_bias?: {
                [key: string]: unknown;
            } | null;
            logprobs?: boolean | null;
            max_completion_tokens?: number | -1 | null;
            /**
             * Format: int64
             * @description How long to wait for a place to run where as many generations run as may, in milliseconds, at most
             *     `limits.queue.max_wait`; 0: not at all. Absent: that setting; for chat completions 0.
             */
            max_queue_ms?: number | null;
            max_tokens?: number | -1 | null;
            /**
             * @description The model. Absent: the prompt's, else `models.default`, else the only one there is. `prompt/<id>` is a prompt:
             *     its messages go before those of the request, `variables` are put into them, and its own model answers.
             */
            model?: string | null;
            /**
             * Format: int64
             * @description How many choices.
             */
            n?: number | null;
            on_disconnect?: components["schemas"]["OnDisconnect"] | null;
            parallel_tool_calls?: boolean | null;
            /** Format: double */
            presence_penalty?: number | null;
            prompt?: components["schemas"]["PromptCall"] | null;
            reasoning_effort?: string | null;
            response_format?: {
                [key: string]: unknown;
            } | null;
            /** Format: int64 */
            seed?: number | null;
            stop?: components["schemas"]["Stop"] | null;
            /** @description `false`: the record is dropped when the generation has ended and its last viewer has left. */
            store?: boolean | null;
            stream_options?: {
                [key: string]: unknown;
            } | null;
            /** Format: double */
            temperature?: number | null;
            /** @description `none`, `auto`, `required`, or a tool by name. */
            tool_choice?: unknown;
            tools?: {
                [key: string]: unknown;
            }[] | null;
            /** Format: int64 */
            top_logprobs?: number | null;
            /** Format: double */
            top_p?: number | null;
            user?: string | null;
        } & {
            /** @description Sent on as it is. What could not stand beside it is refused in it too, and limits count in it. */
            extra_body?: {
                [key: string]: unknown;
            } | null;
            /** @description OpenAI chat messages: text, image, audio and tool parts. */
            messages: components["schemas"]["Message"][];
            /** @description OpenAI's: sent on, and shown in the snapshot where it is up to 16 pairs of strings. */
            metadata?: {
                [key: string]: unknown;
            } | null;
            /** @description Whether the answer is chunks as they come, or the whole at the end. */
            stream?: boolean | null;
            /** @description What is put into the prompt, where `model` is `prompt/<id>`. */
            variables?: {
                [key: string]: unknown;
            } | null;
        };
        /** @description An event to be published. */
        NewEvent: {
            /** @description Any JSON, told as it is; with `encoding` a text in base64 (RFC 4648, section 4). */
            data: unknown;
            encoding?: components["schemas"]["EventEncoding"] | null;
            /** @description Told to those who are there, and not kept. */
            ephemeral?: boolean | null;
            /**
             * @description Its name; without one it reaches a browser's `onmessage`. None of the service's own names.
             * @example said
             */
            event?: string | null;
            to?: components["schemas"]["EventRecipient"] | null;
        } & ({
            encoding?: null;
        } | {
            /** @constant */
            encoding: "base64";
            data?: string;
        });
        /**
         * @description What a generation is asked for. Fields that are not listed here go to the model's server as they are.
         * @example {
         *       "input": "Hello"
         *     }
         */
        NewGeneration: ({
            /**
             * @description A channel in which the answer is told too, each event with `generation` in its data: demands `publish` for it.
             *     Its subscribers are no viewers, and what it has been told it keeps by its own rules, also where the generation is
             *     erased.
             */
            channel?: string | null;
            /** Format: double */
            frequency_penalty?: number | null;
            /**
             * Format: int64
             * @description How long to wait for a viewer to come back before `cancel`, in milliseconds, at most `generation.grace`.
             *     Absent: that setting; for chat completions 0.
             */
            grace_ms?: number | null;
            logit_bias?: {
                [key: string]: unknown;
            } | null;
            logprobs?: boolean | null;
            max_completion_tokens?: number | -1 | null;
            /**
             * Format: int64
             * @description How long to wait for a place to run where as many generations run as may, in milliseconds, at most
             *     `limits.queue.max_wait`; 0: not at all. Absent: that setting; for chat completions 0.
             */
            max_queue_ms?: number | null;
            max_tokens?: number | -1 | null;
            /**
             * @description The model. Absent: the prompt's, else `models.default`, else the only one there is. `prompt/<id>` is a prompt:
             *     its messages go before those of the request, `variables` are put into them, and its own model answers.
             */
            model?: string | null;
            /**
             * Format: int64
             * @description How many choices.
             */
            n?: number | null;
            on_disconnect?: components["schemas"]["OnDisconnect"] | null;
            parallel_tool_calls?: boolean | null;
            /** Format: double */
            presence_penalty?: number | null;
            prompt?: components["schemas"]["PromptCall"] | null;
            reasoning_effort?: string | null;
            response_format?: {
                [key: string]: unknown;
            } | null;
            /** Format: int64 */
            seed?: number | null;
            stop?: components["schemas"]["Stop"] | null;
            /** @description `false`: the record is dropped when the generation has ended and its last viewer has left. */
            store?: boolean | null;
            stream_options?: {
                [key: string]: unknown;
            } | null;
            /** Format: double */
            temperature?: number | null;
            /** @description `none`, `auto`, `required`, or a tool by name. */
            tool_choice?: unknown;
            tools?: {
                [key: string]: unknown;
            }[] | null;
            /** Format: int64 */
            top_logprobs?: number | null;
            /** Format: double */
            top_p?: number | null;
            user?: string | null;
        } & {
            /** @description The user's message; short for `messages` with one. One of both is required. */
            input?: string | null;
            /** @description OpenAI chat messages: text, image, audio and tool parts. */
            messages?: components["schemas"]["Message"][] | null;
            /** @description Up to 16 pairs of strings; shown in the snapshot, never sent on. */
            metadata?: {
                [key: string]: string;
            } | null;
            /** @description Where `Accept` names neither `text/event-stream` nor `application/json`: `false` asks for the snapshot at the end. */
            stream?: boolean | null;
        }) & ({
            prompt: {
                [key: string]: unknown;
            };
            input?: null;
            messages?: unknown[] | null;
        } | {
            input: string;
            messages?: null;
        } | {
            messages: unknown[];
            input?: null;
        });
        /** @description What a ticket is asked for. */
        NewTicket: {
            /**
             * @description The generation's id, or the channel's name.
             * @example gen_AAAAAAAAAAAAAAAAAAAAAA
             */
            id: string;
            resource: components["schemas"]["TicketResource"];
            /**
             * @description What it is for: `follow` and `stop` of a generation, `follow` if absent; `subscribe` and `publish` of a
             *     channel, `subscribe` if absent. Nothing that the caller may not do itself.
             */
            scopes?: components["schemas"]["TicketScope"][] | null;
            /**
             * Format: int64
             * @description How long it is good, in seconds; 60 if absent. Never longer than the token that it is made with.
             */
            ttl_s?: number | null;
        } & ({
            /** @constant */
            resource?: "generation";
            scopes?: ("follow" | "stop")[] | null;
        } | {
            /** @constant */
            resource?: "channel";
            scopes?: ("subscribe" | "publish")[] | null;
            id?: string;
        });
        /** @description One of several choices. */
        NumberedChoice: components["schemas"]["Choice"] & {
            /** Format: int32 */
            choice: number;
        };
        /**
         * @description What becomes of a generation when its last viewer has gone.
         * @enum {string}
         */
        OnDisconnect: "cancel" | "continue";
        /** @description `{"error": {...}}`, as OpenAI's API answers and as an event of its streams. */
        OpenAiError: {
            error: components["schemas"]["OpenAiErrorBody"];
        };
        /** @description What went wrong. */
        OpenAiErrorBody: {
            /** @description The code, from the same list as that of the problems; of an unauthenticated request its `reason`. */
            code?: string | null;
            /** @description What happened and what to do. */
            message: string;
            /** @description The field that is wrong, where it is one. */
            param?: string | null;
            /**
             * @description The kind of error, by its status.
             * @example invalid_request_error
             */
            type: string;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description Whatever else the model's delta held, as it came. */
        PartData: {
            /**
             * Format: int32
             * @description The choice it belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            delta: {
                [key: string]: unknown;
            };
        };
        /** @description Somebody subscribed, or went; with `presence=true`. */
        PresenceData: components["schemas"]["Subscriber"] & {
            /**
             * Format: int64
             * @description How many subscribe now.
             */
            subscribers: number;
        };
        PrincipalRecipient: {
            /** @description Absent: that of the caller, where it has one; else the name is a key's. */
            issuer?: string | null;
            principal: string;
        };
        /** @description Problem details (RFC 9457). */
        Problem: {
            code: components["schemas"]["ErrorCode"];
            /** @description What happened and what to do. */
            detail: string;
            error?: components["schemas"]["OpenAiErrorBody"] | null;
            /** @description What is wrong with which field. */
            errors?: components["schemas"]["FieldError"][];
            reason?: components["schemas"]["UnauthenticatedReason"] | null;
            /** @description What to tell the operator. */
            request_id: string;
            /**
             * Format: int64
             * @description How long to wait before that, where it is known.
             */
            retry_after_ms?: number | null;
            /** @description Whether the same request may succeed later. */
            retryable: boolean;
            /**
             * Format: int32
             * @description The HTTP status, also where the problem comes in an event of a stream that began well.
             */
            status: number;
            /** @description What kind of problem it is; the same for each of its code. */
            title: string;
            /**
             * @description `urn:tokenrill:error:` and the code.
             * @example urn:tokenrill:error:model_not_found
             */
            type: string;
            upstream?: components["schemas"]["UpstreamErrorBody"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description What callers know of a prompt: how it is used, and not its text. */
        Prompt: {
            description: string;
            /** @example summarise */
            id: string;
            /** @description The model it was written for, for requests that name none. */
            model?: string | null;
            /** @description Chat parameters, for requests that do not set them. */
            parameters?: {
                [key: string]: unknown;
            };
            /** @description A JSON Schema (2020-12) of an object: what can be put into it. */
            variables: {
                [key: string]: unknown;
            };
            /**
             * @description Changes with the prompt's text: `id@version` names one text.
             * @example 0123456789ab
             */
            version: string;
        };
        /** @description Which prompt, and what is put into it. */
        PromptCall: {
            /**
             * @description Its id, or `id@version`.
             * @example summarise
             */
            id: string;
            /** @description What the prompt's schema describes. */
            variables?: {
                [key: string]: unknown;
            } | null;
            /** @description The request is refused where the prompt is of another version. */
            version?: string | null;
        };
        /** @description The prompts, by id. */
        PromptList: {
            data: components["schemas"]["Prompt"][];
        };
        /** @description What is put into a prompt. */
        PromptVariables: {
            /** @description By name; none if absent. */
            variables?: {
                [key: string]: unknown;
            };
        };
        /** @description An event was published. */
        PublishedEvent: {
            /**
             * @description Its id; absent from what is not kept.
             * @example room-1.1795690000000001
             */
            id?: string | null;
        };
        /** @description The generation waits for a place to run. Comes again as the line moves; not kept, so it has no id. */
        QueuedData: {
            /**
             * Format: int64
             * @description How long it may take, in milliseconds, as far as can be told from how long others took.
             */
            eta_ms?: number | null;
            /**
             * Format: int32
             * @description 1: the next.
             */
            position: number;
        };
        /** @description One message. */
        RenderedMessage: {
            content: string;
            /** @example system */
            role: string;
        };
        /** @description A prompt as a model would get it. */
        RenderedPrompt: {
            messages: components["schemas"]["RenderedMessage"][];
            model?: string | null;
            parameters?: {
                [key: string]: unknown;
            };
            /**
             * @description `id@version`.
             * @example summarise@0123456789ab
             */
            prompt: string;
        };
        /**
         * @description How a reading from the beginning is told what has been said already.
         * @enum {string}
         */
        Replay: "events" | "snapshot";
        /** @description `server-time` of `system.time`, each second. */
        ServerTimeData: {
            /**
             * Format: date-time
             * @description RFC 3339, UTC.
             */
            time: string;
            /**
             * Format: int64
             * @description Milliseconds since 1970.
             */
            unix_ms: number;
        };
        /** @description The generation has begun; always the first event, before the model answers. */
        StartData: {
            /**
             * Format: date-time
             * @description When it was accepted (RFC 3339, UTC).
             */
            created_at: string;
            /** @description The generation's id, for following it again, for stopping it and for inspecting it. */
            generation: string;
            /** @description The model that answers. */
            model: string;
            /**
             * @description The prompt that it was made of, `id@version`, where it was made of one.
             * @example summarise@0123456789ab
             */
            prompt?: string | null;
        };
        /**
         * @description Where a generation stands.
         * @enum {string}
         */
        Status: "running" | "done" | "cancelled" | "failed";
        /** @description Where the model stops. */
        Stop: string | string[];
        /** @description One stream of one subscriber. */
        Subscriber: {
            /** @example conn_AAAAAAAAAAAAAAAAAAAAAA */
            connection: string;
            /** @description Whose subject that is, where it is one. */
            issuer?: string | null;
            /** @description Whose it is: the name of a key, or a token's subject. Absent where nobody is authenticated. */
            principal?: string | null;
            /**
             * Format: date-time
             * @description Since when (RFC 3339, UTC).
             */
            since: string;
        };
        /** @description A piece of the model's reasoning, or of a refusal. */
        TextData: {
            /**
             * Format: int32
             * @description The choice it belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            text: string;
        };
        /** @description A ticket. */
        Ticket: {
            /**
             * Format: date-time
             * @description Until when a connection may be made with it (RFC 3339, UTC). One that stands goes on.
             */
            expires_at: string;
            /** @description Goes into the query as `ticket`. */
            ticket: string;
            /** @description The path with the ticket: of the events or, where it may not follow a generation, of `cancel`. */
            url: string;
        };
        /**
         * @description What kind of thing a ticket is for.
         * @enum {string}
         */
        TicketResource: "generation" | "channel";
        /**
         * @description What a ticket may be for.
         * @enum {string}
         */
        TicketScope: "follow" | "stop" | "subscribe" | "publish";
        /** @description How long it took, from the acceptance of the request. */
        Timings: {
            /**
             * Format: int64
             * @description Milliseconds to the first text, reasoning or tool call; absent where none came.
             */
            first_token_ms?: number | null;
            /**
             * Format: int64
             * @description Milliseconds to the end.
             */
            total_ms: number;
        };
        /** @description Tokens of generations that ended. */
        TokenFigures: {
            /** Format: int64 */
            input: number;
            /** Format: int64 */
            output: number;
            /**
             * Format: int64
             * @description What cancelled generations did not come to, an estimate.
             */
            saved: number;
        };
        /** @description A call of a tool, its fragments put together. */
        ToolCall: {
            /** @description JSON, once the generation is done. */
            arguments: string;
            id: string;
            name: string;
        };
        /** @description A fragment of a call of a tool, as it comes. */
        ToolCallData: {
            /** @description The next characters of the arguments, which together are JSON. */
            arguments: string;
            /**
             * Format: int32
             * @description The choice it belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            /** @description The call's id; in its first fragment. */
            id?: string | null;
            /**
             * Format: int32
             * @description Which of the choice's calls this belongs to, from 0.
             */
            index: number;
            /** @description The tool's name; in its first fragment. */
            name?: string | null;
        };
        /**
         * @description Why a request is unauthenticated. On SDK-shaped endpoints this is `error.code`.
         * @enum {string}
         */
        UnauthenticatedReason: "credential_missing" | "credential_invalid" | "token_expired" | "issuer_unknown";
        /** @description The words of the model's server about the request that it refused. Keys, account ids and addresses are masked. */
        UpstreamErrorBody: {
            /** @example context_length_exceeded */
            code?: string | null;
            message?: string | null;
            /**
             * @description The field of the request that is wrong.
             * @example messages
             */
            param?: string | null;
            /**
             * Format: int32
             * @description Its HTTP status, where it refused the request.
             */
            status?: number | null;
            /**
             * @description Its kind of error.
             * @example invalid_request_error
             */
            type?: string | null;
        };
        /** @description Tokens read and written by the model. */
        Usage: {
            /**
             * Format: int64
             * @description Those of the prompt that were read from the provider's cache, where it says.
             */
            cache_read_tokens?: number | null;
            /**
             * Format: int64
             * @description Those of the prompt that were written to the provider's cache, where it says.
             */
            cache_write_tokens?: number | null;
            /** @description Whether at least one total is our estimate, because the provider gave none. */
            estimated: boolean;
            /**
             * Format: int64
             * @description Those of the prompt that were audio, where the provider says.
             */
            input_audio_tokens?: number | null;
            /**
             * Format: int64
             * @description Tokens of the prompt, all parts included.
             */
            input_tokens: number;
            /**
             * Format: int64
             * @description Those of the answer that were audio, where the provider says.
             */
            output_audio_tokens?: number | null;
            /**
             * Format: int64
             * @description Tokens of the answer, all parts included. Absent where an answer that was asked for as a whole ended before it
             *     arrived: nothing is known of it then.
             */
            output_tokens?: number | null;
            /**
             * Format: int64
             * @description Those of the answer that were reasoning, where the provider says.
             */
            reasoning_tokens?: number | null;
        };
        /** @description One event. `data` is one line of JSON. Exactly one of `done`, `cancelled` and `failed` comes, last; then the response ends. Clients ignore events they do not know. */
        GenerationEvent: {
            /** @constant */
            event: "start";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "queued";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "delta";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "reasoning";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "tool_call";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "refusal";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "part";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "snapshot";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "done";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "cancelled";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "failed";
            data: string;
            /** @description `<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description Milliseconds to wait before connecting again; in the first and in the last block. */
            retry?: number;
        };
        ChatCompletion: {
            id: string;
            /** @constant */
            object: "chat.completion";
            created: number;
            model: string;
            choices: {
                index: number;
                message: {
                    [key: string]: unknown;
                };
                finish_reason: string | null;
            }[];
            usage?: {
                [key: string]: unknown;
            } | null;
        };
        ChatCompletionChunk: {
            id: string;
            /** @constant */
            object: "chat.completion.chunk";
            created: number;
            model: string;
            choices: {
                index: number;
                delta: {
                    [key: string]: unknown;
                };
                finish_reason: string | null;
            }[];
            usage?: {
                [key: string]: unknown;
            } | null;
        };
        /** @description One event: a chunk, an error, or the end. Without names. */
        ChatCompletionEvent: {
            data: "[DONE]" | string;
        };
        /** @description One event. Clients ignore events they do not know. */
        ChannelStreamEvent: {
            /** @constant */
            event: "connected";
            data: string;
            /** @description `<channel>.<sequence>`; what `Last-Event-ID` names. Absent from what is not kept. */
            id?: string;
        } | {
            /** @constant */
            event: "joined";
            data: string;
            /** @description `<channel>.<sequence>`; what `Last-Event-ID` names. Absent from what is not kept. */
            id?: string;
        } | {
            /** @constant */
            event: "left";
            data: string;
            /** @description `<channel>.<sequence>`; what `Last-Event-ID` names. Absent from what is not kept. */
            id?: string;
        } | {
            /** @constant */
            event: "gap";
            data: string;
            /** @description `<channel>.<sequence>`; what `Last-Event-ID` names. Absent from what is not kept. */
            id?: string;
        } | components["schemas"]["GenerationEvent"] | {
            event?: string;
            data: string;
            /** @description `<channel>.<sequence>`; what `Last-Event-ID` names. Absent from what is not kept. */
            id?: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: {
        /** @description What is left of each limit, and in how many seconds all of it is there again (draft-ietf-httpapi-ratelimit-headers-10). Absent where nothing is limited. */
        RateLimit: string;
        /** @description The limits for each minute (the same draft). */
        "RateLimit-Policy": string;
        /** @description As OpenAI's API says it. */
        "x-ratelimit-limit-requests": string;
        /** @description As OpenAI's API says it. */
        "x-ratelimit-remaining-requests": string;
        /** @description As OpenAI's API says it. */
        "x-ratelimit-reset-requests": string;
        /** @description As OpenAI's API says it. */
        "x-ratelimit-limit-tokens": string;
        /** @description As OpenAI's API says it. */
        "x-ratelimit-remaining-tokens": string;
        /** @description As OpenAI's API says it. */
        "x-ratelimit-reset-tokens": string;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    healthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It does */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The figures */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/openmetrics-text": string;
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description They are */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    inspect_channel: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The channel's name
                 * @example room-1
                 */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The channel */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Channel"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    subscribe: {
        parameters: {
            query?: {
                /** @description How many of the last kept events come first, at most `channels.history`; 0 if absent. Where a position is given it counts for nothing */
                history?: number;
                /** @description `true`: also who comes and who goes */
                presence?: boolean;
                /** @description The number after which to begin: what stands behind the last dot of an event's id, or `last_sequence` */
                after?: number;
                /**
                 * @description How long a page may be waited for, with its unit, such as `20s`; at most `60s`. Absent: not at all
                 * @example 2s
                 */
                wait?: string;
            };
            header?: {
                /** @description The id of the last event that the client has; wins over `after` */
                "Last-Event-ID"?: string;
            };
            path: {
                /**
                 * @description The channel's name
                 * @example room-1
                 */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                    "application/json": components["schemas"]["EventPage"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
            /** @description Not Acceptable */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["ChannelStreamEvent"];
                };
            };
        };
    };
    publish_event: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The channel's name; it is there as soon as it is named
                 * @example room-1
                 */
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewEvent"];
            };
        };
        responses: {
            /** @description It has been told */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublishedEvent"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Request Timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Payload Too Large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    create_chat_completion: {
        parameters: {
            query?: never;
            header?: {
                /** @description A name of the caller's choice for this request, so that a repeat starts nothing: 1 to 255 visible ASCII characters */
                "Idempotency-Key"?: string;
                /** @description As the field `grace_ms`, which wins over it */
                "Tokenrill-Grace-Ms"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewChatCompletion"];
            };
        };
        responses: {
            /** @description The chunks, or the completion */
            200: {
                headers: {
                    /** @description The generation's id */
                    "Tokenrill-Generation"?: string;
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                    "application/json": components["schemas"]["ChatCompletion"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Request Timeout */
            408: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Conflict */
            409: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Payload Too Large */
            413: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Unprocessable Entity */
            422: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Bad Gateway */
            502: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Gateway Timeout */
            504: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    "x-ratelimit-limit-requests": components["headers"]["x-ratelimit-limit-requests"];
                    "x-ratelimit-remaining-requests": components["headers"]["x-ratelimit-remaining-requests"];
                    "x-ratelimit-reset-requests": components["headers"]["x-ratelimit-reset-requests"];
                    "x-ratelimit-limit-tokens": components["headers"]["x-ratelimit-limit-tokens"];
                    "x-ratelimit-remaining-tokens": components["headers"]["x-ratelimit-remaining-tokens"];
                    "x-ratelimit-reset-tokens": components["headers"]["x-ratelimit-reset-tokens"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
        };
    };
    list_connections: {
        parameters: {
            query?: {
                /** @description How many at most; 100 if absent */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The connections */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConnectionList"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    close_connection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The connection's id
                 * @example conn_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is being closed */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    list_generations: {
        parameters: {
            query?: {
                /** @description Only those that stand so */
                status?: components["schemas"]["Status"];
                /** @description How many at most; 20 if absent */
                limit?: number;
                /** @description `next` of the page before */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GenerationList"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    create_generation: {
        parameters: {
            query?: never;
            header?: {
                /** @description `respond-async`: answer at once, run without a viewer */
                Prefer?: string;
                /** @description The id of the last event that the client has; what follows it is sent */
                "Last-Event-ID"?: string;
                /** @description A name of the caller's choice for this request, so that a repeat starts nothing: 1 to 255 visible ASCII characters */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewGeneration"];
            };
        };
        responses: {
            /** @description The events, or the snapshot at the end */
            200: {
                headers: {
                    /** @description `existing` where the request started nothing */
                    "Tokenrill-Attached"?: string;
                    /** @description The generation's id */
                    "Tokenrill-Generation"?: string;
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                    "application/json": components["schemas"]["Generation"];
                };
            };
            /** @description Started; `Location` is where it is inspected */
            202: {
                headers: {
                    /** @description Path of the generation */
                    Location?: string;
                    /** @description The generation's id */
                    "Tokenrill-Generation"?: string;
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Generation"];
                };
            };
            /** @description `Last-Event-ID` is that of the terminal event, and that nothing follows has been told before */
            204: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Bad Request */
            400: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Acceptable */
            406: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Request Timeout */
            408: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Payload Too Large */
            413: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unprocessable Entity */
            422: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    inspect_generation: {
        parameters: {
            query?: {
                /** @description The `last_sequence` that the caller has; 0 if absent */
                after?: number;
                /**
                 * @description How long to wait for more than `after`, with its unit, such as `20s`; at most `60s`. Absent: not at all
                 * @example 2s
                 */
                wait?: string;
            };
            header?: never;
            path: {
                /**
                 * @description The generation's id
                 * @example gen_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The snapshot */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Generation"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    erase_generation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The generation's id
                 * @example gen_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Erased */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    cancel_generation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The generation's id
                 * @example gen_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The snapshot, after the stop */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Generation"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    follow_generation: {
        parameters: {
            query?: {
                /** @description The sequence number after which to begin: what stands behind the dot of an event's id */
                after?: number;
                /** @description The wire: `native`, or `openai` for OpenAI's chunks */
                format?: components["schemas"]["Format"];
                /** @description `snapshot`: a reading from the beginning has one event `snapshot` in place of those so far; native wire only */
                replay?: components["schemas"]["Replay"];
            };
            header?: {
                /** @description The id of the last event that the client has; wins over `after` */
                "Last-Event-ID"?: string;
            };
            path: {
                /**
                 * @description The generation's id
                 * @example gen_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The events */
            200: {
                headers: {
                    /** @description The generation's id */
                    "Tokenrill-Generation"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["GenerationEvent"] | components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description The position is the terminal event's: nothing will follow. Stops an `EventSource` for good */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Acceptable */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    list_models: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The models */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ModelList"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
        };
    };
    show_model: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The model's name
                 * @example demo
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The model */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Model"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ChatCompletionEvent"];
                };
            };
        };
    };
    list_prompts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The prompts */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PromptList"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    show_prompt: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The prompt's id, or id@version
                 * @example summarise
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The prompt */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Prompt"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    render_prompt: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The prompt's id, or id@version
                 * @example summarise
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PromptVariables"];
            };
        };
        responses: {
            /** @description The messages */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RenderedPrompt"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Request Timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Payload Too Large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unprocessable Entity */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
    create_ticket: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewTicket"];
            };
        };
        responses: {
            /** @description The ticket */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Ticket"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Request Timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Payload Too Large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                    "text/event-stream": components["schemas"]["GenerationEvent"];
                };
            };
        };
    };
}

/** What each event of the native wire holds in its `data`. New names may come: ignore what you do not know. */
export interface GenerationEvents {
  start: components["schemas"]["StartData"];
  queued: components["schemas"]["QueuedData"];
  delta: components["schemas"]["DeltaData"];
  reasoning: components["schemas"]["TextData"];
  tool_call: components["schemas"]["ToolCallData"];
  refusal: components["schemas"]["TextData"];
  part: components["schemas"]["PartData"];
  snapshot: components["schemas"]["Generation"];
  done: components["schemas"]["DoneData"];
  cancelled: components["schemas"]["CancelledData"];
  failed: components["schemas"]["FailedData"];
}

/** What a generation is asked for. */
export type NewGeneration = components["schemas"]["NewGeneration"];

/** The same with a provider's own fields, such as `top_k`. A typo in one of ours compiles too: prefer `NewGeneration`. */
export type NewGenerationWithProviderFields = NewGeneration & Record<string, unknown>;

/** What a chat completion is asked for. */
export type NewChatCompletion = components["schemas"]["NewChatCompletion"];

/** A failure (RFC 9457). */
export type Problem = components["schemas"]["Problem"];
