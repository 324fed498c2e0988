// Generated from openapi.json by `make openapi`. Do not edit.

export interface paths {
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Check that the process is alive. */
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
         * Show the metrics.
         * @description OpenMetrics text, for Prometheus.
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
         * Check that new generations are accepted.
         * @description Responds with `503` and the reason while the service is draining (live generations can still be followed), while the
         *     event log does not respond, and until the keys of the identity provider have been fetched for the first time. Upstreams are not checked, because one that
         *     fails would make the service unavailable to callers of the others.
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
         * @description Its subscribers, the end of its log and the kept history. A channel that was never used is empty.
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
         * @description The first event is `connected`. It is followed by the events after `Last-Event-ID` (or `after`), or the last
         *     `history` events, and then by every new event. The stream has no end: after `channels.idle_timeout` without an event
         *     the service closes it, and browsers reconnect by themselves. Events have the names that their publishers gave them.
         *     The events of a generation that is published to the channel have their usual form, with `generation` in the data. A
         *     `gap` replaces history events that were evicted, and the first events of an answer if they are no longer kept.
         *
         *     If `Accept` names `application/json` and not `text/event-stream`, the response is one page of events as JSON, sent
         *     as soon as there is an event, after at most `wait`: for clients without event streams.
         */
        get: operations["subscribe"];
        put?: never;
        /**
         * Publish an event.
         * @description The event is sent to every subscriber, or only to the recipient in `to`. It is kept for later subscribers, unless it
         *     is `ephemeral`: then only current subscribers receive it.
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
         * @description Any OpenAI SDK works with `/v1` of this service as its base URL. With `"stream": true` the response is a stream of
         *     chunks that ends with `[DONE]`. The service sends the response head with the first token, or after
         *     `generation.head_wait`. A failure before the head is a status; a later one is an `error` in the stream, without
         *     `[DONE]`. The header `Tokenrill-Generation` contains the generation's id: the same chunks, with ids, are at
         *     `GET /v1/generations/{id}/events?format=openai`.
         *
         *     Closing the connection stops the model, streaming or not, unless the request sets a grace by the field `grace_ms` or
         *     the header. A request with a used `Idempotency-Key` receives the answer of the generation that the key started, from
         *     the beginning, as long as that is kept.
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
         * @description Event streams, requests that wait for JSON, and requests whose body is not complete: those of the replica that
         *     responds.
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
         * @description An event stream is closed without its end, so a browser reconnects by itself unless it is then refused. A request
         *     that waits for JSON receives the state so far; a request whose body is not complete is refused. The connection may be
         *     one of another replica.
         */
        delete: operations["close_connection"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/embeddings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Embed texts, as OpenAI's API does.
         * @description The request is sent to the target of the model with only `model` changed, and the answer is returned byte for byte. It
         *     is limited, is in the ledger, and is not kept. Closing the connection closes that of the upstream. `Idempotency-Key`
         *     has no effect. The vectors of the model `demo` are sums of hashed words: texts with the same words are near each other,
         *     and no other meaning is in them.
         */
        post: operations["create_embeddings"];
        delete?: never;
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
         * @description Running and kept generations, newest first. Without authentication the list is empty: all clients are the same
         *     caller, and only the id gives access to a generation.
         */
        get: operations["list_generations"];
        put?: never;
        /**
         * Start a generation.
         * @description The response is an event stream if `Accept` names `text/event-stream`; else the snapshot at the end if it names
         *     `application/json`; else the snapshot if `stream` is `false`; else an event stream. With `Prefer: respond-async`
         *     (RFC 7240) it is `202` with the current snapshot, and the generation continues without a viewer.
         *
         *     When the generation has had no viewer for the grace, it ends as `cancelled` and the model stops, unless
         *     `on_disconnect` is `continue`.
         *
         *     A request with `Last-Event-ID` does not start a generation: it resumes the generation of that event after the event,
         *     and its body is ignored. A request with a used `Idempotency-Key` follows the generation that the key started, from
         *     the beginning; with another body it is refused. Both responses have the header `Tokenrill-Attached: existing`. A key
         *     is kept as long as its generation.
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
         * @description Returns its status and its answer so far. With `after` and `wait` the response is sent when there are events after
         *     that position, when the generation has ended, or when the wait expires: for clients that cannot read event streams.
         *     A client that waits counts as a viewer.
         */
        get: operations["inspect_generation"];
        put?: never;
        post?: never;
        /**
         * Stop and erase a generation.
         * @description Stops it like `cancel` and erases its record. Every later request for it is `404`.
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
         * @description Every viewer receives `cancelled`, and the model stops. A generation that has ended does not change. The request's
         *     body is not read, so that `fetch(..., {keepalive: true})` can send this while a page unloads.
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
         * @description Sends every event after a position, then each new one, until the terminal event. The position is `Last-Event-ID`,
         *     else `after`, else the beginning. Any number of viewers may follow at the same time.
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
    "/v1/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create a message, as Anthropic's API does.
         * @description Anthropic's SDKs work with this service as their base URL, whatever the upstream of the model is. With
         *     `"stream": true` the response is a stream of events. The service sends the response head with the first token, or
         *     after `generation.head_wait`. A failure before the head is a status; a later one is an `error` event. The header
         *     `Tokenrill-Generation` contains the generation's id: the same events, with ids, are at
         *     `GET /v1/generations/{id}/events?format=messages`.
         *
         *     Closing the connection stops the model, streaming or not, unless the request sets a grace by the field `grace_ms` or
         *     the header.
         *
         *     A target with Anthropic's API receives the request as it came, apart from the model and the limits. For any other
         *     target it is converted to a chat completion; the response is `400` if that cannot carry a part of it.
         */
        post: operations["create_message"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/messages/count_tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Count the tokens of a message, as Anthropic's API does.
         * @description Nothing is sent to an upstream: the tokens are counted with the vocabulary of the model's family. Counts as a request
         *     of the caller's rate.
         */
        post: operations["count_message_tokens"];
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
         * @description Lists the models of every upstream, and `demo`, as far as the caller may use them. A list that is older than 30 s is
         *     refreshed in the background; if an upstream fails, its last list is kept.
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
         * @description Shows one model of the list. A model that no upstream lists may be usable nevertheless.
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
         * @description Lists how to use each prompt, without the texts.
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
         * @description With `id@version`, responds with 404 if the prompt has another version now.
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
         * @description Returns the rendered messages without calling a model. For authors of prompts. Only operators may call it, because
         *     it reveals the texts.
         */
        post: operations["render_prompt"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create a response, as OpenAI's Responses API does.
         * @description Any OpenAI SDK works with `/v1` of this service as its base URL, for any model of any upstream. With `"stream": true`
         *     the response is a stream of events with `sequence_number`. With `"background": true` the response comes at once, and
         *     the model goes on without a reader. A response is kept as long as its generation: it can be retrieved, followed,
         *     continued by `previous_response_id`, cancelled and deleted.
         *
         *     Closing the connection stops the model, unless it runs in the background or the request sets a grace by the field
         *     `grace_ms` or the header. A field that is not carried is refused by name before the model is asked.
         */
        post: operations["create_response"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/input_tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Count the input tokens of a request.
         * @description Nothing is sent to an upstream: the tokens are counted with the vocabulary of the model's family. Counts as a request
         *     of the caller's rate.
         */
        post: operations["count_response_tokens"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Retrieve a response.
         * @description Returns the response as it stands. With `stream=true` its events are sent from the beginning, or after
         *     `starting_after`, and then each new one; they have the numbers of the first stream.
         */
        get: operations["retrieve_response"];
        put?: never;
        post?: never;
        /**
         * Delete a response.
         * @description Stops it and erases it. Every later request for it is `404`.
         */
        delete: operations["delete_response"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel a response.
         * @description Stops the model, in the background or not. A response that has ended does not change.
         */
        post: operations["cancel_response"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/responses/{id}/input_items": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the input items of a response.
         * @description The items of the request alone, newest first unless `order` is `asc`, each with an id of this list. Those of responses
         *     that it continued are with these. In place of a reference there is the item that it names.
         */
        get: operations["list_response_input_items"];
        put?: never;
        post?: never;
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
         * Create a ticket.
         * @description For `EventSource`, which cannot set headers: a short-lived URL for one of the caller's generations, or for a
         *     channel. An `EventSource` reconnects with the same URL, so choose a lifetime that covers its reconnects.
         */
        post: operations["create_ticket"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/ui/chat": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Send a chat message.
         * @description What `useChat` of the AI SDK sends with an unchanged `DefaultChatTransport({ api: ".../v1/ui/chat" })`: the response is
         *     the AI SDK's UI message stream. All other fields are those of `POST /v1/generations`, so that a page sets the model in
         *     the transport's `body`. With `"stream": false` the response is the message of the assistant at the end.
         *
         *     A page that closes the connection can resume for the grace: `GET /v1/ui/chat/{chat_id}/stream`. A repeated request
         *     with an equal last message, as two tabs send it, attaches to the answer that is being written. Any other one starts a
         *     new answer and stops an older one that has no reader. Errors are one plain sentence.
         */
        post: operations["send_ui_chat"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/ui/chat/{chat_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read a chat.
         * @description The messages of the chat's last request with its answer, for a page that does not keep them itself. They are kept as
         *     long as the generation. Refused without authentication, unless the service is reachable only from its own machine.
         */
        get: operations["read_ui_chat"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/ui/chat/{chat_id}/stop": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop a chat.
         * @description Stops the answer that is being written: its readers get `abort`, and the model stops at once. `200` also if there is
         *     none. `useChat().stop()` only closes its connection, so that the model stops when the grace ends.
         */
        post: operations["stop_ui_chat"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/ui/chat/{chat_id}/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Resume a chat.
         * @description What `useChat({ resume: true })` requests: the stream of the answer that is being written, from its beginning. The
         *     parts of a message that the answer continues precede it. An answer whose end was sent to no client is replayed once.
         *     `204`: there is nothing to resume.
         */
        get: operations["resume_ui_chat"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/upstreams": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the upstreams with their health.
         * @description Breakers, keys that rest and times to the first token, as the replica that responds sees them.
         */
        get: operations["list_upstreams"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Sum usage and cost.
         * @description The attempts at upstreams that ended in the last 62 days, those of failed and cancelled generations included: yours,
         *     or with the scope `admin` those of all callers. As CSV if `Accept` names `text/csv`. Without authentication this is
         *     for operators only, as `/metrics`. With several replicas that share a server: the attempts of all of them, about a second
         *     after they ended.
         */
        get: operations["sum_usage"];
        put?: never;
        post?: never;
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
        /**
         * @description The state of a circuit breaker.
         * @enum {string}
         */
        Breaker: "closed" | "half_open" | "open";
        /** @description The generation was cancelled. The events before this one are the incomplete answer. */
        CancelledData: {
            /**
             * Format: double
             * @description What the tokens cost in US dollars; absent if that is unknown.
             * @example 0.0022
             */
            cost?: number | null;
            reason: components["schemas"]["CancelledReason"];
            timings: components["schemas"]["Timings"];
            usage: components["schemas"]["Usage"];
        };
        /**
         * @description Why the generation was cancelled.
         * @enum {string}
         */
        CancelledReason: "client_request" | "abandoned";
        /** @description A channel. */
        Channel: {
            history: components["schemas"]["ChannelHistory"];
            /**
             * Format: int64
             * @description The sequence number of the last event in the channel's log; absent if the channel has no log.
             */
            last_sequence?: number | null;
            name: string;
            /** @description At most 1000 of the subscribers. */
            present: components["schemas"]["Subscriber"][];
            /** Format: int64 */
            subscribers: number;
        };
        /** @description One event, with the fields that it has in an event stream. */
        ChannelEvent: {
            data: unknown;
            /** @description Absent if the event has no name. */
            event?: string | null;
            /** @description Absent if the event is ephemeral. */
            id?: string | null;
        };
        /** @description The events that are kept for later subscribers. */
        ChannelHistory: {
            /**
             * Format: int64
             * @description The sequence number before the first of them.
             */
            after: number;
            /** Format: int64 */
            bytes: number;
            /**
             * Format: int64
             * @description The number of events; a generation's answer counts as one.
             */
            events: number;
        };
        /** @description One choice of the answer. */
        Choice: {
            /** @description Why the choice ended; present after the model has finished it. */
            finish_reason?: string | null;
            /** @description Present and true if the provider gave no reason; `finish_reason` then is `stop`. */
            finish_reason_missing?: boolean | null;
            reasoning?: string;
            refusal?: string;
            text: string;
            tool_calls?: components["schemas"]["ToolCall"][];
        };
        /** @description The subscription has started. Always the first event. */
        ConnectedData: {
            channel: string;
            /** @description The id of this stream. An event can be sent to this stream only. */
            connection: string;
            /** @description The first thousand subscribers, including this one; only with `presence=true`. */
            present?: components["schemas"]["Subscriber"][] | null;
            /**
             * Format: int64
             * @description The number of subscribers, including this one.
             */
            subscribers: number;
        };
        /** @description One request in flight. */
        Connection: {
            /** @description The client's address, if the caller is not authenticated; of an IPv6 address the first 64 bits. */
            address?: string | null;
            /**
             * Format: int64
             * @description Bytes that were written, heartbeats included.
             */
            bytes: number;
            /**
             * Format: int64
             * @description The number of events that were sent, `queued` events included.
             */
            events: number;
            /** @example conn_AAAAAAAAAAAAAAAAAAAAAA */
            id: string;
            /**
             * Format: int64
             * @description Milliseconds since the last write; heartbeats count as writes.
             */
            idle_ms: number;
            /** @description The token's issuer, if `principal` is a token's subject. */
            issuer?: string | null;
            kind: components["schemas"]["ConnectionKind"];
            /** @description The caller: the name of a key, or a token's subject. Absent if the caller is not authenticated. */
            principal?: string | null;
            /**
             * Format: date-time
             * @description When it was opened (RFC 3339, UTC).
             */
            since: string;
        };
        /**
         * @description The activity of a connection, in the list of connections.
         * @enum {string}
         */
        ConnectionKind: "request_body" | "wait" | "event_stream";
        /** @description The requests in flight. */
        ConnectionList: {
            /** @description The connections, newest first. */
            data: components["schemas"]["Connection"][];
            /**
             * @description The replica that responds, whose connections these are.
             * @example rep_AAAAAAAAAAAAAAAAAAAAAA
             */
            replica: string;
            /**
             * Format: int64
             * @description The number of all connections.
             */
            total: number;
        };
        ConnectionRecipient: {
            /** @example conn_AAAAAAAAAAAAAAAAAAAAAA */
            connection: string;
        };
        /** @description A response that was erased. */
        DeletedResponse: {
            deleted: boolean;
            /** @example resp_AAAAAAAAAAAAAAAAAAAAAA */
            id: string;
            /** @description `response`. */
            object: string;
        };
        /** @description A piece of the answer. */
        DeltaData: {
            /**
             * Format: int32
             * @description The choice that this belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            /** @description Log probabilities as the provider returned them, if the request asked for them. */
            logprobs?: unknown;
            text: string;
        };
        /** @description The answer is complete. */
        DoneData: {
            /** @description Why each choice ended, if there are several. */
            choices?: components["schemas"]["FinishedChoice"][] | null;
            /**
             * Format: double
             * @description What the tokens cost in US dollars; absent if that is unknown.
             * @example 0.0022
             */
            cost?: number | null;
            /**
             * @description Why the first choice ended: `stop`, `length`, `tool_calls`, `content_filter`, or another value of the provider.
             * @example stop
             */
            finish_reason: string;
            /** @description Present and true if the provider gave no reason; `finish_reason` then is `stop`. */
            finish_reason_missing?: boolean;
            timings: components["schemas"]["Timings"];
            usage: components["schemas"]["Usage"];
        };
        /** @description Embeddings, as the model's server sent them. The members that are always present are listed. */
        EmbeddingList: {
            data: {
                [key: string]: unknown;
            }[];
        };
        /** @description A request for embeddings. Other members are forwarded to the model's server unchanged. */
        EmbeddingsBody: {
            /**
             * Format: int32
             * @description The length of the vectors, if the model supports several.
             */
            dimensions?: number | null;
            /** @description `float` (default) or `base64`, as the model's server supports them. */
            encoding_format?: string | null;
            input: string | string[] | number[][] | number[];
            /** @description The model, as in a chat: the name of a model of an upstream, or of several targets. */
            model?: string | null;
        };
        /**
         * @description The closed list of error codes.
         * @enum {string}
         */
        ErrorCode: "invalid_json" | "invalid_request" | "unauthenticated" | "forbidden" | "issuer_unavailable" | "model_required" | "model_not_found" | "model_unpriced" | "generation_not_found" | "connection_not_found" | "prompt_not_found" | "invalid_variables" | "channel_full" | "misdirected" | "route_not_found" | "method_not_allowed" | "not_acceptable" | "request_timeout" | "body_too_large" | "unsupported_media_type" | "chat_id_guessable" | "unsupported_value" | "unsupported_parameter" | "missing_required_parameter" | "previous_response_not_found" | "idempotency_conflict" | "rate_limited" | "too_many_generations" | "budget_exceeded" | "too_many_connections" | "cancelled" | "upstream_unreachable" | "upstream_auth" | "upstream_rate_limited" | "upstream_overloaded" | "upstream_rejected" | "upstream_misconfigured" | "upstream_error" | "upstream_empty" | "upstream_timeout" | "upstream_disconnected" | "upstream_restarted" | "upstream_malformed" | "deadline_exceeded" | "too_large" | "overloaded" | "event_log_unavailable" | "replica_lost" | "shutting_down" | "history_lost" | "internal";
        /**
         * @description The encoding of `data`.
         * @enum {string}
         */
        EventEncoding: "base64";
        /** @description Some events of a channel, in order. */
        EventPage: {
            /** @description Empty if the wait ended before an event arrived. */
            events: components["schemas"]["ChannelEvent"][];
            gap?: components["schemas"]["GapData"] | null;
            /**
             * Format: int64
             * @description The value of `after` for the next request.
             */
            last_sequence: number;
        };
        /** @description One stream, or all streams of one caller. */
        EventRecipient: components["schemas"]["ConnectionRecipient"] | components["schemas"]["PrincipalRecipient"];
        /** @description The generation failed, or the request was refused before the generation started. A refusal contains only the error. */
        FailedData: {
            /**
             * Format: double
             * @description What the tokens cost in US dollars; absent if that is unknown.
             * @example 0.0022
             */
            cost?: number | null;
            error: components["schemas"]["Problem"];
            timings?: components["schemas"]["Timings"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description An invalid field of the body. */
        FieldError: {
            detail: string;
            /**
             * @description The path of the field (JSON Pointer, RFC 6901).
             * @example /messages/0/role
             */
            pointer: string;
        };
        /** @description Why one of several choices ended. */
        FinishedChoice: {
            /** Format: int32 */
            choice: number;
            finish_reason: string;
            /** @description Present and true if the provider gave no reason; `finish_reason` then is `stop`. */
            finish_reason_missing?: boolean;
        };
        /** @description Percentiles over the last hundred generations; null before the first. */
        FirstTokenFigures: {
            /** Format: double */
            p50: number | null;
            /** Format: double */
            p95: number | null;
        };
        /**
         * @description The wire formats in which a generation can be followed.
         * @enum {string}
         */
        Format: "native" | "openai" | "messages" | "responses" | "ui";
        /**
         * @description The events from `from` to `to`, both included, are no longer kept, so the client's view may be incomplete. The range
         *     may include numbers that no event ever had.
         */
        GapData: {
            /** Format: int64 */
            from: number;
            /** Format: int64 */
            to: number;
        };
        /** @description The state of a generation so far. */
        Generation: components["schemas"]["Choice"] & {
            /** @description All choices, if there are several. */
            choices?: components["schemas"]["NumberedChoice"][];
            /**
             * Format: double
             * @description What the tokens cost in US dollars; absent if that is unknown, and before the generation has ended.
             * @example 0.0022
             */
            cost?: number | null;
            /**
             * Format: date-time
             * @description When the request was accepted (RFC 3339, UTC).
             */
            created_at: string;
            error?: components["schemas"]["Problem"] | null;
            id: string;
            /**
             * @description The id of the last event that this state includes. The events after it are at
             *     `GET /v1/generations/{id}/events?after=` and this id.
             */
            last_event_id: string;
            /**
             * Format: int64
             * @description The sequence number of that event.
             */
            last_sequence: number;
            /** @description The metadata of the request. */
            metadata?: {
                [key: string]: string;
            };
            /** @description The model that answers. */
            model: string;
            /**
             * @description The prompt that the request referred to, as `id@version`; absent if it referred to none.
             * @example summarise@0123456789ab
             */
            prompt?: string | null;
            reason?: components["schemas"]["CancelledReason"] | null;
            status: components["schemas"]["Status"];
            timings?: components["schemas"]["Timings"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description Numbers of generations, by status. */
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
            /**
             * @description The `cursor` of the next page, if there may be one. A page may have fewer entries than `limit` and still have a
             *     next one.
             */
            next?: string | null;
        };
        /** @description A generation without its answer. */
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
            /** @description The metadata of the request. */
            metadata?: {
                [key: string]: string;
            };
            /** @description The model that answers. */
            model: string;
            status: components["schemas"]["Status"];
            timings?: components["schemas"]["Timings"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description The status of the service. */
        Health: {
            /** @example ok */
            status: string;
        };
        /** @description The input tokens of a request. */
        InputTokens: {
            /**
             * Format: int64
             * @description The tokens, as this service counts them.
             * @example 14
             */
            input_tokens: number;
            /** @description `response.input_tokens`. */
            object: string;
        };
        /** @description One message. Other members are forwarded to the model's server unchanged. */
        Message: {
            /** @description A string, an array of parts, or any other content that the model's server accepts. */
            content?: unknown;
            /**
             * @description The role, such as `system`, `developer`, `user`, `assistant` or `tool`; the model's server defines the valid
             *     ones.
             * @example user
             */
            role: string;
        };
        /** @description The tokens of a request. */
        MessageTokenCount: {
            /**
             * Format: int64
             * @description Tokens of the system prompt, the messages and the tools. An estimate: the model's own count can differ.
             */
            input_tokens: number;
        };
        /** @description `{"type": "error", "error": {...}}`: the body of an error response of Anthropic's API, or an event of its streams. */
        MessagesError: {
            error: components["schemas"]["MessagesErrorBody"];
            /** @description The id of the request; absent in a stream, whose response has it as a header. */
            request_id?: string | null;
            /**
             * @description `error`.
             * @example error
             */
            type: string;
        };
        /** @description The error. */
        MessagesErrorBody: {
            details: components["schemas"]["MessagesErrorDetails"];
            /** @description What happened and what to do. */
            message: string;
            /**
             * @description The kind of error, derived from the status.
             * @example invalid_request_error
             */
            type: string;
        };
        /** @description What SDKs read as the code of an error. */
        MessagesErrorDetails: {
            /** @description The code, from the same list as that of the problems; or the code that the upstream reported. */
            error_code: string;
        };
        /**
         * @description The event `metrics` of the channel `system.metrics`, sent every second. Values other than rates are current, or
         *     counted since the start.
         */
        MetricsData: {
            /**
             * Format: int64
             * @description Memory of the logs of generations and channels.
             */
            event_log_bytes: number;
            first_token_ms: components["schemas"]["FirstTokenFigures"];
            generations: components["schemas"]["GenerationFigures"];
            /**
             * Format: int64
             * @description Memory of the process; null if the system does not report it.
             */
            memory_bytes: number | null;
            /**
             * Format: int64
             * @description Requests that were refused because of a limit.
             */
            refusals: number;
            /**
             * @description The replica whose figures these are.
             * @example rep_AAAAAAAAAAAAAAAAAAAAAA
             */
            replica: string;
            /**
             * Format: int64
             * @description Current viewers and subscribers.
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
             * @description Pieces of answers in the last second; usually, a piece is a token.
             */
            tokens_per_second: number;
        };
        /** @description One model. */
        Model: {
            /**
             * Format: int64
             * @description Unix time in seconds; 0 if the upstream does not report it.
             */
            created: number;
            /** @example demo */
            id: string;
            /** @example model */
            object: string;
            /** @example tokenrill */
            owned_by: string;
        };
        /** @description One model of an upstream. */
        ModelHealth: {
            breaker: components["schemas"]["Breaker"];
            /**
             * Format: int64
             * @description The time to the first token of half of the last 200 streamed answers. Absent before the first answer.
             */
            first_token_p50_ms?: number | null;
            /**
             * Format: int64
             * @description The time to the first token of 95 % of the last 200 streamed answers.
             */
            first_token_p95_ms?: number | null;
            /**
             * Format: int32
             * @description Answers in progress.
             */
            in_flight: number;
            /** @description Keys that are not used for this model for the moment, because the upstream limited them. */
            limited_keys: number;
            /** @description The name that the upstream knows. */
            model: string;
            /**
             * Format: int64
             * @description How long the model is not requested, because the upstream is overloaded or does not have it. Absent if it is in
             *     use.
             */
            rest_ms?: number | null;
        };
        /** @description A list of models, in OpenAI's shape. */
        ModelList: {
            data: components["schemas"]["Model"][];
            /** @example list */
            object: string;
        };
        /**
         * @description A request for a chat completion: all fields of `NewGeneration` except `input`. Fields that are not listed here are
         *     forwarded to the model's server unchanged.
         */
        NewChatCompletion: {
            /**
             * @description A channel to which the answer is also published, each event with `generation` in its data; requires the scope
             *     `publish` for the channel. Its subscribers do not count as viewers. The channel keeps the events by its own
             *     rules, even if the generation is erased.
             */
            channel?: string | null;
            /**
             * Format: int64
             * @description The grace: how long to wait for a viewer to reconnect before `cancel`, in milliseconds, at most
             *     `generation.grace`. Default: that setting; for chat completions 0.
             */
            grace_ms?: number | null;
            /**
             * Format: int64
             * @description How long to wait in the queue if all slots are in use, in milliseconds, at most `limits.queue.max_wait`; 0
             *     refuses the request instead. Default: that setting; for chat completions 0.
             */
            max_queue_ms?: number | null;
            /**
             * @description The model. Default: the prompt's model, else `models.default`, else the only available model. `prompt/<id>`
             *     selects a prompt: its messages, rendered with `variables`, precede those of the request, and its own model
             *     answers.
             */
            model?: string | null;
            on_disconnect?: components["schemas"]["OnDisconnect"] | null;
            prompt?: components["schemas"]["PromptCall"] | null;
            /** @description `false`: the record is removed when the generation has ended and its last viewer has disconnected. */
            store?: boolean | null;
            /** @description The sampling temperature. */
            temperature?: number | null;
            /** @description Samples only from the most probable tokens that together have this probability. */
            top_p?: number | null;
            /** @description Penalizes tokens by how often they occurred before. */
            frequency_penalty?: number | null;
            /** @description Penalizes tokens that occurred before. */
            presence_penalty?: number | null;
            /** @description The maximum number of tokens of each choice; the older name of `max_completion_tokens`. */
            max_tokens?: number | -1 | null;
            /** @description The maximum number of tokens of each choice. -1, which some servers read as "no limit", is replaced by the caller's own limit, if there is one. */
            max_completion_tokens?: number | -1 | null;
            /** @description The number of choices. */
            n?: number | null;
            /** @description The seed of the sampling. */
            seed?: number | null;
            /** @description The sequences at which the model stops: a string, or an array of strings. */
            stop?: string | string[] | null;
            /** @description The format of the answer, such as a JSON Schema. */
            response_format?: {
                [key: string]: unknown;
            } | null;
            /** @description How much a reasoning model reasons, such as `low`. */
            reasoning_effort?: string | null;
            /** @description How long the answer is: `low`, `medium` or `high`. */
            verbosity?: string | null;
            /** @description Biases of tokens, by their ids. */
            logit_bias?: {
                [key: string]: unknown;
            } | null;
            /** @description Whether to return the log probabilities of the tokens. */
            logprobs?: boolean | null;
            /** @description How many alternatives of each token to return; requires `logprobs`. */
            top_logprobs?: number | null;
            /** @description The tools that the model may call. */
            tools?: {
                [key: string]: unknown;
            }[] | null;
            /** @description `none`, `auto`, `required`, or a tool by name. */
            tool_choice?: string | {
                [key: string]: unknown;
            } | null;
            /** @description Whether the model may call several tools at once. */
            parallel_tool_calls?: boolean | null;
            /** @description Options of the stream, such as `include_usage`. */
            stream_options?: {
                [key: string]: unknown;
            } | null;
            /** @description The id of the end user, for the model's server. */
            user?: string | null;
        } & {
            /**
             * @description Forwarded unchanged. Members that would be refused at the top level are refused here too, and limits apply to
             *     them.
             */
            extra_body?: {
                [key: string]: unknown;
            } | null;
            /** @description OpenAI chat messages: text, image, audio and tool parts. */
            messages: components["schemas"]["Message"][];
            /** @description OpenAI's `metadata`: forwarded, and shown in the snapshot if it is up to 16 pairs of strings. */
            metadata?: {
                [key: string]: unknown;
            } | null;
            /** @description `true`: the response is a stream of chunks; else it is the whole completion at the end. */
            stream?: boolean | null;
            /** @description The variables of the prompt, if `model` is `prompt/<id>`. */
            variables?: {
                [key: string]: unknown;
            } | null;
        };
        /** @description An event to publish. */
        NewEvent: {
            /** @description Any JSON, sent unchanged; with `encoding`, a string in base64 (RFC 4648, section 4). */
            data: unknown;
            encoding?: components["schemas"]["EventEncoding"] | null;
            /** @description `true`: the event is sent to the current subscribers only and not kept. */
            ephemeral?: boolean | null;
            /**
             * @description Its name. Without one, browsers deliver the event to `onmessage`. The service's own names are refused.
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
         * @description A request for a generation. Fields that are not listed here are forwarded to the model's server unchanged.
         * @example {
         *       "input": "Hello"
         *     }
         */
        NewGeneration: ({
            /**
             * @description A channel to which the answer is also published, each event with `generation` in its data; requires the scope
             *     `publish` for the channel. Its subscribers do not count as viewers. The channel keeps the events by its own
             *     rules, even if the generation is erased.
             */
            channel?: string | null;
            /**
             * Format: int64
             * @description The grace: how long to wait for a viewer to reconnect before `cancel`, in milliseconds, at most
             *     `generation.grace`. Default: that setting; for chat completions 0.
             */
            grace_ms?: number | null;
            /**
             * Format: int64
             * @description How long to wait in the queue if all slots are in use, in milliseconds, at most `limits.queue.max_wait`; 0
             *     refuses the request instead. Default: that setting; for chat completions 0.
             */
            max_queue_ms?: number | null;
            /**
             * @description The model. Default: the prompt's model, else `models.default`, else the only available model. `prompt/<id>`
             *     selects a prompt: its messages, rendered with `variables`, precede those of the request, and its own model
             *     answers.
             */
            model?: string | null;
            on_disconnect?: components["schemas"]["OnDisconnect"] | null;
            prompt?: components["schemas"]["PromptCall"] | null;
            /** @description `false`: the record is removed when the generation has ended and its last viewer has disconnected. */
            store?: boolean | null;
            /** @description The sampling temperature. */
            temperature?: number | null;
            /** @description Samples only from the most probable tokens that together have this probability. */
            top_p?: number | null;
            /** @description Penalizes tokens by how often they occurred before. */
            frequency_penalty?: number | null;
            /** @description Penalizes tokens that occurred before. */
            presence_penalty?: number | null;
            /** @description The maximum number of tokens of each choice; the older name of `max_completion_tokens`. */
            max_tokens?: number | -1 | null;
            /** @description The maximum number of tokens of each choice. -1, which some servers read as "no limit", is replaced by the caller's own limit, if there is one. */
            max_completion_tokens?: number | -1 | null;
            /** @description The number of choices. */
            n?: number | null;
            /** @description The seed of the sampling. */
            seed?: number | null;
            /** @description The sequences at which the model stops: a string, or an array of strings. */
            stop?: string | string[] | null;
            /** @description The format of the answer, such as a JSON Schema. */
            response_format?: {
                [key: string]: unknown;
            } | null;
            /** @description How much a reasoning model reasons, such as `low`. */
            reasoning_effort?: string | null;
            /** @description How long the answer is: `low`, `medium` or `high`. */
            verbosity?: string | null;
            /** @description Biases of tokens, by their ids. */
            logit_bias?: {
                [key: string]: unknown;
            } | null;
            /** @description Whether to return the log probabilities of the tokens. */
            logprobs?: boolean | null;
            /** @description How many alternatives of each token to return; requires `logprobs`. */
            top_logprobs?: number | null;
            /** @description The tools that the model may call. */
            tools?: {
                [key: string]: unknown;
            }[] | null;
            /** @description `none`, `auto`, `required`, or a tool by name. */
            tool_choice?: string | {
                [key: string]: unknown;
            } | null;
            /** @description Whether the model may call several tools at once. */
            parallel_tool_calls?: boolean | null;
            /** @description Options of the stream, such as `include_usage`. */
            stream_options?: {
                [key: string]: unknown;
            } | null;
            /** @description The id of the end user, for the model's server. */
            user?: string | null;
        } & {
            /** @description The user's message: short for `messages` with one message. Without a prompt, exactly one of both is required. */
            input?: string | null;
            /** @description OpenAI chat messages: text, image, audio and tool parts. */
            messages?: components["schemas"]["Message"][] | null;
            /** @description Up to 16 pairs of strings, shown in the snapshot and never forwarded. */
            metadata?: {
                [key: string]: string;
            } | null;
            on_upstream_failure?: components["schemas"]["OnUpstreamFailure"] | null;
            /**
             * @description `false`: the response is the snapshot at the end. Used only if `Accept` names neither `text/event-stream` nor
             *     `application/json`.
             */
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
        /**
         * @description A request for a message in the form of Anthropic's Messages API. Other fields of that API are accepted too: a target
         *     with Anthropic's API receives the request as it came, any other target what chat completions can carry.
         */
        NewMessage: {
            /**
             * Format: int64
             * @description How many milliseconds the generation continues without a viewer. Default here: 0, so that closing the connection
             *     stops the model.
             */
            grace_ms?: number | null;
            /** @description The maximum tokens of the answer. Required for an answer. */
            max_tokens?: number | null;
            /** @description Messages. Their blocks may be any that Anthropic's API has; the schema describes those of text. */
            messages: {
                /** @example user */
                role: string;
                content: string | {
                    /** @example text */
                    type: string;
                    text?: string | null;
                }[];
            }[];
            /**
             * @description The model. Required unless there is a default.
             * @example demo?tokens=5&rate=max
             */
            model?: string | null;
            /** @description Texts at which the answer ends. */
            stop_sequences?: string[] | null;
            /** @description `true`: the response is a stream of events; else it is the whole message at the end. */
            stream?: boolean | null;
            /** @description The system prompt: a text, or blocks of text. */
            system?: string | {
                [key: string]: unknown;
            }[] | null;
            /**
             * Format: double
             * @description How random the answer is.
             */
            temperature?: number | null;
            /** @description Whether the model must use a tool, and which. */
            tool_choice?: {
                /** @example auto */
                type: string;
                name?: string | null;
            } | null;
            /** @description Tools of the caller. Those of Anthropic's servers are for targets with Anthropic's API. */
            tools?: {
                name: string;
                description?: string | null;
                input_schema?: {
                    [key: string]: unknown;
                } | null;
                type?: string | null;
            }[] | null;
        };
        /** @description A request in the form of OpenAI's Responses API. What chat completions cannot carry is refused by name. */
        NewResponse: {
            /** @description `true`: the response comes at once, and the model goes on without a reader. */
            background?: boolean | null;
            /**
             * Format: int64
             * @description How many milliseconds the generation continues without a viewer. Default here: 0, so that closing the connection
             *     stops the model.
             */
            grace_ms?: number | null;
            /** @description `message.output_text.logprobs` adds log probabilities to the deltas of a stream. Other values change nothing. */
            include?: string[] | null;
            /** @description A text, or a list of items. Items may be any that docs/responses.md names; the schema describes messages. Required unless there is a prompt or previous_response_id. */
            input?: string | {
                /** @enum {unknown} */
                role: "user" | "assistant" | "system" | "developer";
                content: string | {
                    /** @enum {unknown} */
                    type: "input_text" | "output_text";
                    text: string;
                }[];
            }[];
            /** @description The system prompt. That of an earlier response is not used again. */
            instructions?: string | null;
            /**
             * Format: int32
             * @description The maximum tokens of the answer.
             */
            max_output_tokens?: number | null;
            /**
             * Format: int32
             * @description Repeated in the response; this service calls no tools itself.
             */
            max_tool_calls?: number | null;
            /** @description Up to 16 pairs, which the response repeats. */
            metadata?: {
                [key: string]: string;
            } | null;
            /**
             * @description The model. Required unless there is a default.
             * @example demo?tokens=5&rate=max
             */
            model?: string | null;
            /** @description Whether the model may call several functions at once. */
            parallel_tool_calls?: boolean | null;
            /** @description The id of the response that this request continues. */
            previous_response_id?: string | null;
            /** @description A stored prompt, by `id`, with `variables`. */
            prompt?: {
                [key: string]: unknown;
            } | null;
            /** @description How much the model thinks. A summary changes nothing: reasoning is always in the response. */
            reasoning?: {
                effort?: string;
                summary?: string;
            } | null;
            /** @description `false`: the response is erased when it was read. Not with `background`. */
            store?: boolean | null;
            /** @description `true`: the response is a stream of events; else the whole response at the end. */
            stream?: boolean | null;
            /**
             * Format: double
             * @description How random the answer is.
             */
            temperature?: number | null;
            /** @description The form of the text. */
            text?: {
                format?: {
                    /** @enum {unknown} */
                    type: "text" | "json_object";
                };
                verbosity?: string;
            } | null;
            /** @description Which function the model must call. */
            tool_choice?: ("none" | "auto" | "required" | null) | {
                /** @constant */
                type: "function";
                name: string;
            };
            /** @description Functions that the model may call. */
            tools?: {
                /** @constant */
                type: "function";
                name: string;
            }[] | null;
            /**
             * Format: int32
             * @description The likeliest other tokens for each token of a stream.
             */
            top_logprobs?: number | null;
            /**
             * Format: double
             * @description Which of the likeliest tokens the model chooses from.
             */
            top_p?: number | null;
            /** @description Must be `disabled`: this service leaves nothing out. */
            truncation?: string | null;
            /** @description The id of the end user, for the upstream. */
            user?: string | null;
        };
        /** @description A request for a ticket. */
        NewTicket: {
            /**
             * @description The generation's id, or the channel's name.
             * @example gen_AAAAAAAAAAAAAAAAAAAAAA
             */
            id: string;
            resource: components["schemas"]["TicketResource"];
            /**
             * @description What the ticket permits: `follow` and `stop` for a generation (default `follow`); `subscribe` and `publish` for
             *     a channel (default `subscribe`). The caller must have each of these permissions itself.
             */
            scopes?: components["schemas"]["TicketScope"][] | null;
            /**
             * Format: int64
             * @description The lifetime in seconds; 60 if absent. A ticket never outlives the token with which it is created.
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
        /** @description What the AI SDK's `DefaultChatTransport` sends. The fields of `POST /v1/generations` may be added, but for `input`. */
        NewUiChat: {
            /**
             * @description The id of the chat.
             * @example chat_0123456789abcdef
             */
            id: string;
            /** @description The id of the message that is edited or continued. */
            messageId?: string | null;
            /** @description UI messages, the last of which is answered or continued. Their parts may be any that the AI SDK has; the schema describes those of text. */
            messages: {
                id?: string | null;
                /** @enum {unknown} */
                role: "user" | "assistant" | "system";
                parts: {
                    /** @example text */
                    type: string;
                    text?: string | null;
                }[];
            }[];
            /**
             * @description The model. Required unless there is a default.
             * @example demo?tokens=5&rate=max
             */
            model?: string | null;
            /** @description `false`: the response is the message at the end. */
            stream?: boolean | null;
            /**
             * @description Why the request is sent. Only a repeated `submit-message` attaches to the answer that is being written.
             * @default submit-message
             * @enum {unknown}
             */
            trigger: "submit-message" | "regenerate-message" | null;
        };
        /** @description One of several choices. */
        NumberedChoice: components["schemas"]["Choice"] & {
            /** Format: int32 */
            choice: number;
        };
        /**
         * @description The action when a generation has had no viewer for its grace.
         * @enum {string}
         */
        OnDisconnect: "cancel" | "continue";
        /**
         * @description What happens if the model's server fails after its first token.
         * @enum {string}
         */
        OnUpstreamFailure: "fail" | "restart";
        /** @description `{"error": {...}}`: the body of an error response of OpenAI's API, or an event of its streams. */
        OpenAiError: {
            error: components["schemas"]["OpenAiErrorBody"];
        };
        /** @description The error. */
        OpenAiErrorBody: {
            /** @description The code, from the same list as that of the problems; for an unauthenticated request, its `reason`. */
            code?: string | null;
            /** @description What happened and what to do. */
            message: string;
            /** @description The invalid field, if the error is about one. */
            param?: string | null;
            /**
             * @description The kind of error, derived from the status.
             * @example invalid_request_error
             */
            type: string;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description Other members of the model's delta, unchanged. */
        PartData: {
            /**
             * Format: int32
             * @description The choice that this belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            delta: {
                [key: string]: unknown;
            };
        };
        /** @description A subscriber joined or left; only with `presence=true`. */
        PresenceData: components["schemas"]["Subscriber"] & {
            /**
             * Format: int64
             * @description The current number of subscribers.
             */
            subscribers: number;
        };
        PrincipalRecipient: {
            /** @description Absent: the issuer of the publisher's own token, if it has one; else `principal` is the name of a key. */
            issuer?: string | null;
            principal: string;
        };
        /** @description Problem details (RFC 9457). */
        Problem: {
            code: components["schemas"]["ErrorCode"];
            /** @description What happened and what to do. */
            detail: string;
            error?: components["schemas"]["OpenAiErrorBody"] | null;
            /** @description The invalid fields. */
            errors?: components["schemas"]["FieldError"][];
            reason?: components["schemas"]["UnauthenticatedReason"] | null;
            /** @description The id of the request. Include it in a report to the operator. */
            request_id: string;
            /**
             * Format: int64
             * @description How long to wait before a retry, in milliseconds, if known.
             */
            retry_after_ms?: number | null;
            /** @description Whether the same request may succeed later. */
            retryable: boolean;
            /**
             * Format: int32
             * @description The HTTP status, also if the problem is an event of a stream that began with status 200.
             */
            status: number;
            /** @description The kind of problem; the same for every problem with this code. */
            title: string;
            /**
             * @description `urn:tokenrill:error:` and the code.
             * @example urn:tokenrill:error:model_not_found
             */
            type: string;
            upstream?: components["schemas"]["UpstreamErrorBody"] | null;
            usage?: components["schemas"]["Usage"] | null;
        };
        /** @description A prompt as callers see it: how to use it, without its text. */
        Prompt: {
            description: string;
            /** @example summarise */
            id: string;
            /** @description The model that the prompt was written for; used for requests that name none. */
            model?: string | null;
            /** @description Chat parameters for requests that do not set them. */
            parameters?: {
                [key: string]: unknown;
            };
            /** @description The JSON Schema (2020-12) of the variables, which are an object. */
            variables: {
                [key: string]: unknown;
            };
            /**
             * @description Changes with the prompt's text: `id@version` refers to exactly one text.
             * @example 0123456789ab
             */
            version: string;
        };
        /** @description A prompt with its variables. */
        PromptCall: {
            /**
             * @description The prompt's id, or `id@version`.
             * @example summarise
             */
            id: string;
            /** @description The prompt's variables, as its schema describes them. */
            variables?: {
                [key: string]: unknown;
            } | null;
            /** @description The expected version: the request is refused if the prompt has another one. */
            version?: string | null;
        };
        /** @description The prompts, by id. */
        PromptList: {
            data: components["schemas"]["Prompt"][];
        };
        /** @description The variables of a prompt. */
        PromptVariables: {
            /** @description Values by name; empty if absent. */
            variables?: {
                [key: string]: unknown;
            };
        };
        /** @description The result of publishing an event. */
        PublishedEvent: {
            /**
             * @description The event's id; absent if the event is ephemeral.
             * @example room-1.1795690000000001
             */
            id?: string | null;
        };
        /** @description The generation waits for a slot. Sent again when its queue position changes. Not kept, so it has no id. */
        QueuedData: {
            /**
             * Format: int64
             * @description The estimated wait in milliseconds, derived from the durations of other generations. Absent if unknown.
             */
            eta_ms?: number | null;
            /**
             * Format: int32
             * @description The queue position; 1 is the next.
             */
            position: number;
        };
        /** @description One message. */
        RenderedMessage: {
            content: string;
            /** @example system */
            role: string;
        };
        /** @description A prompt as it would be sent to a model. */
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
         * @description How past events are sent to a viewer that starts at the beginning.
         * @enum {string}
         */
        Replay: "events" | "snapshot";
        /**
         * @description The upstream failed and another one begins anew: discard all texts and parts after the event with the number `from`,
         *     which are all so far. Sent only if the request has `on_upstream_failure: "restart"`, and never after a tool call.
         */
        RestartData: {
            /**
             * Format: int64
             * @description The number of the last event that stays, as in its id.
             * @example 1
             */
            from: number;
            /**
             * @description Why the answer before is incomplete, as an error code.
             * @example upstream_timeout
             */
            reason: string;
        };
        /** @description The event `server-time` of the channel `system.time`, sent every second. */
        ServerTimeData: {
            /**
             * @description The replica whose clock this is.
             * @example rep_AAAAAAAAAAAAAAAAAAAAAA
             */
            replica: string;
            /**
             * Format: date-time
             * @description RFC 3339, UTC.
             */
            time: string;
            /**
             * Format: int64
             * @description Unix time in milliseconds.
             */
            unix_ms: number;
        };
        /** @description The generation has started. Always the first event, before the model answers. */
        StartData: {
            /**
             * Format: date-time
             * @description When the request was accepted (RFC 3339, UTC).
             */
            created_at: string;
            /** @description The id of the generation, to follow, cancel or inspect it. */
            generation: string;
            /** @description The model that answers. */
            model: string;
            /**
             * @description The prompt that the request referred to, as `id@version`; absent if it referred to none.
             * @example summarise@0123456789ab
             */
            prompt?: string | null;
        };
        /**
         * @description The status of a generation.
         * @enum {string}
         */
        Status: "running" | "done" | "cancelled" | "failed";
        /** @description One stream of one subscriber. */
        Subscriber: {
            /** @example conn_AAAAAAAAAAAAAAAAAAAAAA */
            connection: string;
            /** @description The issuer of the token, if the principal is a subject. */
            issuer?: string | null;
            /** @description The principal: the name of a key, or the subject of a token. Absent without authentication. */
            principal?: string | null;
            /**
             * Format: date-time
             * @description The time of the subscription (RFC 3339, UTC).
             */
            since: string;
        };
        /** @description A piece of the model's reasoning, or of a refusal. */
        TextData: {
            /**
             * Format: int32
             * @description The choice that this belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            text: string;
        };
        /** @description A ticket. */
        Ticket: {
            /**
             * Format: date-time
             * @description The end of its validity (RFC 3339, UTC). A connection that was opened before continues.
             */
            expires_at: string;
            /** @description The value of the query parameter `ticket`. */
            ticket: string;
            /** @description The path with the ticket: that of the events, or that of `cancel` if the ticket does not permit `follow`. */
            url: string;
        };
        /**
         * @description The kind of resource that a ticket is for.
         * @enum {string}
         */
        TicketResource: "generation" | "channel";
        /**
         * @description A permission of a ticket.
         * @enum {string}
         */
        TicketScope: "follow" | "stop" | "subscribe" | "publish";
        /** @description Durations since the request was accepted. */
        Timings: {
            /**
             * Format: int64
             * @description Milliseconds to the first text, reasoning or tool call; absent if there was none.
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
             * @description An estimate of the tokens that were not generated because of cancellation.
             */
            saved: number;
        };
        /** @description A tool call, with its fragments joined. */
        ToolCall: {
            /** @description JSON; incomplete until the generation is done. */
            arguments: string;
            id: string;
            name: string;
        };
        /** @description A fragment of a tool call. */
        ToolCallData: {
            /** @description The next characters of the arguments. All fragments together are JSON. */
            arguments: string;
            /**
             * Format: int32
             * @description The choice that this belongs to; absent for the first, which is 0.
             */
            choice?: number | null;
            /** @description The id of the call; only in its first fragment. */
            id?: string | null;
            /**
             * Format: int32
             * @description The index of the call in its choice, from 0.
             */
            index: number;
            /** @description The name of the tool; only in the call's first fragment. */
            name?: string | null;
        };
        /** @description The messages of a chat. */
        UiChat: {
            /** @description Whether an answer is being written. */
            active: boolean;
            /** @description The id of the chat. */
            id: string;
            /** @description UI messages of the AI SDK: those of the last request, and the answer so far. Empty if the chat is unknown. */
            messages: {
                [key: string]: unknown;
            }[];
        };
        /** @description Whether a stop found an answer to stop. */
        UiStop: {
            /** @description The id of the chat. */
            id: string;
            /** @description Whether an answer was being written. */
            stopped: boolean;
        };
        /**
         * @description The reason for which a request is unauthenticated. On OpenAI-compatible endpoints this is `error.code`.
         * @enum {string}
         */
        UnauthenticatedReason: "credential_missing" | "credential_invalid" | "token_expired" | "issuer_unknown";
        /** @description One upstream. */
        Upstream: {
            /** @description Whether it is connected to: `open` while it cannot be reached. */
            connections: components["schemas"]["Breaker"];
            /** @description In the order of the settings. The keys themselves are never shown. */
            keys: components["schemas"]["UpstreamKey"][];
            /** @description The models that were requested, by name, at most 1,000. */
            models: components["schemas"]["ModelHealth"][];
            /** @example openai */
            name: string;
            /**
             * @description The URL of its chat API, without a query.
             * @example https://api.openai.com/v1/chat/completions
             */
            url: string;
        };
        /** @description The error that the upstream returned for the request. Keys, account ids and addresses are masked. */
        UpstreamErrorBody: {
            /** @example context_length_exceeded */
            code?: string | null;
            message?: string | null;
            /**
             * @description The invalid field of the request.
             * @example messages
             */
            param?: string | null;
            /**
             * Format: int32
             * @description The upstream's HTTP status, if it refused the request.
             */
            status?: number | null;
            /**
             * @description The upstream's type of error.
             * @example invalid_request_error
             */
            type?: string | null;
        };
        /** @description One key. */
        UpstreamKey: {
            /** @description From 1. */
            number: number;
            /**
             * Format: int64
             * @description How long the key is not used, because it was refused or its quota is used up. Absent if it is in use.
             */
            rest_ms?: number | null;
        };
        /** @description The upstreams as this replica sees them. */
        UpstreamList: {
            /** @description In the order of the settings; first the embedded model. */
            data: components["schemas"]["Upstream"][];
            /**
             * @description The replica that responds, whose attempts these figures are of.
             * @example rep_AAAAAAAAAAAAAAAAAAAAAA
             */
            replica: string;
        };
        /** @description The tokens that the model read and wrote. */
        Usage: {
            /**
             * Format: int64
             * @description Prompt tokens that were read from the provider's cache, if the provider reports them.
             */
            cache_read_tokens?: number | null;
            /**
             * Format: int64
             * @description Prompt tokens that were written to the provider's cache, if the provider reports them.
             */
            cache_write_tokens?: number | null;
            /** @description Whether at least one total is an estimate of this service, because the provider reported none. */
            estimated: boolean;
            /**
             * Format: int64
             * @description Audio tokens of the prompt, if the provider reports them.
             */
            input_audio_tokens?: number | null;
            /**
             * Format: int64
             * @description Tokens of the prompt, all parts included.
             */
            input_tokens: number;
            /**
             * Format: int64
             * @description Audio tokens of the answer, if the provider reports them.
             */
            output_audio_tokens?: number | null;
            /**
             * Format: int64
             * @description Tokens of the answer, all parts included. Absent if the answer was requested as a whole and the generation ended
             *     before it arrived, because the number is unknown then.
             */
            output_tokens?: number | null;
            /**
             * Format: int64
             * @description Reasoning tokens of the answer, if the provider reports them.
             */
            reasoning_tokens?: number | null;
        };
        /** @description The sums over attempts that have ended. Totals of tokens include their parts. */
        UsageRow: {
            /** Format: int64 */
            attempts: number;
            /** Format: int64 */
            cache_read_tokens: number;
            /** Format: int64 */
            cache_write_tokens: number;
            /** Format: int64 */
            cancelled: number;
            /**
             * Format: double
             * @description What the attempts cost in US dollars, except the unpriced ones; absent if that is unknown.
             * @example 0.0022
             */
            cost?: number | null;
            /**
             * Format: date
             * @description The day (UTC) on which the attempts ended; only if `by` names it.
             * @example 2026-12-01
             */
            day?: string | null;
            /**
             * Format: int64
             * @description Attempts by outcome.
             */
            done: number;
            /**
             * Format: int64
             * @description Attempts whose tokens are, at least in part, estimates.
             */
            estimated: number;
            /** Format: int64 */
            failed: number;
            /** Format: int64 */
            input_audio_tokens: number;
            /** Format: int64 */
            input_tokens: number;
            /** @description The token's issuer, if `principal` is a token's subject. */
            issuer?: string | null;
            /** @description The requested model; only if `by` names it. */
            model?: string | null;
            /** Format: int64 */
            output_audio_tokens: number;
            /** Format: int64 */
            output_tokens: number;
            /** @description The caller: the name of a key, a token's subject, or `anonymous`; only if `by` names it. */
            principal?: string | null;
            /** Format: int64 */
            reasoning_tokens: number;
            /**
             * Format: int64
             * @description Attempts whose cost is unknown.
             */
            unpriced: number;
            /** @description The name of the upstream in the settings; only if `by` names it. */
            upstream?: string | null;
        };
        /** @description Usage and cost of attempts at upstreams. */
        UsageRows: {
            /** @description One row for each combination of what `by` names that has attempts, in this order: day, principal, model, upstream. */
            data: components["schemas"]["UsageRow"][];
            /**
             * @description The replica that responds, whose attempts these are; absent if they are those of all replicas.
             * @example rep_AAAAAAAAAAAAAAAAAAAAAA
             */
            replica?: string | null;
        };
        /** @description One event. `data` is one line of JSON. The last event is exactly one of `done`, `cancelled` and `failed`; then the response ends. Clients must ignore unknown events. */
        GenerationEvent: {
            /** @constant */
            event: "start";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "queued";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "delta";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "reasoning";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "tool_call";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "refusal";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "part";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "restart";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "snapshot";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "done";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "cancelled";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
            retry?: number;
        } | {
            /** @constant */
            event: "failed";
            data: string;
            /** @description `<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`. */
            id?: string;
            /** @description The reconnection delay in milliseconds; in the first and in the last block. */
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
        AnthropicMessage: {
            id: string;
            /** @constant */
            type: "message";
            /** @constant */
            role: "assistant";
            model: string;
            content: {
                type: string;
            }[];
            stop_reason: string | null;
            usage: {
                [key: string]: unknown;
            };
        };
        /** @description The data of an event, whose name is its type. */
        MessageEventData: {
            /** @enum {unknown} */
            type: "message_start" | "content_block_start" | "content_block_delta" | "content_block_stop" | "message_delta" | "message_stop";
        };
        /** @description One event of a message, or an error, which ends the stream. */
        MessageEvent: {
            event: string;
            data: string;
        };
        OpenAiResponse: {
            id: string;
            /** @constant */
            object: "response";
            created_at: number;
            completed_at: number | null;
            /** @enum {unknown} */
            status: "in_progress" | "completed" | "incomplete" | "cancelled" | "failed";
            model: string;
            error: {
                [key: string]: unknown;
            } | null;
            incomplete_details: {
                [key: string]: unknown;
            } | null;
            output: Record<string, unknown>[];
            usage: {
                [key: string]: unknown;
            } | null;
        };
        /** @description One event, whose name is its type, or an error, which ends the stream. Its data is JSON with `type` and `sequence_number`. */
        ResponseEvent: {
            event?: string;
            data: string;
        };
        ResponseItems: {
            /** @constant */
            object: "list";
            data: {
                [key: string]: unknown;
            }[];
            first_id: string | null;
            last_id: string | null;
            has_more: boolean;
        };
        /** @description One sentence, which a page shows as it is. */
        UiError: string;
        /** @description The data of an event: a chunk of the AI SDK's UI message stream as JSON, or `[DONE]`, which is the last. */
        UiChunk: {
            data: string;
        };
        /** @description A UI message of the AI SDK. */
        UiMessageBody: {
            id: string;
            /** @constant */
            role: "assistant";
            parts: {
                type: string;
            }[];
        };
        /** @description One event. Clients must ignore unknown events. */
        ChannelStreamEvent: {
            /** @constant */
            event: "connected";
            data: string;
            /** @description `<channel>.<sequence>`, the value for `Last-Event-ID`. Absent if the event is ephemeral. */
            id?: string;
        } | {
            /** @constant */
            event: "joined";
            data: string;
            /** @description `<channel>.<sequence>`, the value for `Last-Event-ID`. Absent if the event is ephemeral. */
            id?: string;
        } | {
            /** @constant */
            event: "left";
            data: string;
            /** @description `<channel>.<sequence>`, the value for `Last-Event-ID`. Absent if the event is ephemeral. */
            id?: string;
        } | {
            /** @constant */
            event: "gap";
            data: string;
            /** @description `<channel>.<sequence>`, the value for `Last-Event-ID`. Absent if the event is ephemeral. */
            id?: string;
        } | components["schemas"]["GenerationEvent"] | {
            event?: string;
            data: string;
            /** @description `<channel>.<sequence>`, the value for `Last-Event-ID`. Absent if the event is ephemeral. */
            id?: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: {
        /** @description The remaining quota of each limit, and the seconds until it is full again (draft-ietf-httpapi-ratelimit-headers-10). Absent if the caller has no limits. */
        RateLimit: string;
        /** @description The limits per minute (the same draft). */
        "RateLimit-Policy": string;
        /** @description As in OpenAI's API. */
        "x-ratelimit-limit-requests": string;
        /** @description As in OpenAI's API. */
        "x-ratelimit-remaining-requests": string;
        /** @description As in OpenAI's API. */
        "x-ratelimit-reset-requests": string;
        /** @description As in OpenAI's API. */
        "x-ratelimit-limit-tokens": string;
        /** @description As in OpenAI's API. */
        "x-ratelimit-remaining-tokens": string;
        /** @description As in OpenAI's API. */
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
            /** @description The process is alive */
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
            /** @description The metrics */
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
            /** @description New generations are accepted */
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
                /** @description The number of kept events to send first, at most `channels.history`; default 0. Ignored if a position is given */
                history?: number;
                /** @description `true`: also send `joined` and `left` events */
                presence?: boolean;
                /** @description The sequence number after which to start: the digits after the last dot of an event's id, or `last_sequence` */
                after?: number;
                /**
                 * @description The longest time to wait for the page, with its unit, such as `20s`; at most `60s`. Default: no wait
                 * @example 2s
                 */
                wait?: string;
            };
            header?: {
                /** @description The id of the last event that the client received; takes precedence over `after` */
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
                 * @description The channel's name; the channel is created on first use
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
            /** @description The event was published */
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
                /** @description A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters */
                "Idempotency-Key"?: string;
                /** @description Same as the field `grace_ms`, which takes precedence */
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
                /** @description The maximum number of connections; default 100 */
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
            /** @description The connection is being closed */
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
    create_embeddings: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmbeddingsBody"];
            };
        };
        responses: {
            /** @description The embeddings */
            200: {
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
                    "application/json": components["schemas"]["EmbeddingList"];
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
    list_generations: {
        parameters: {
            query?: {
                /** @description Only generations with this status */
                status?: components["schemas"]["Status"];
                /** @description The maximum number of generations; default 20 */
                limit?: number;
                /** @description `next` of the previous page */
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
                /** @description `respond-async`: respond at once and run without a viewer */
                Prefer?: string;
                /** @description The id of the last event that the client received; the events after it are sent */
                "Last-Event-ID"?: string;
                /** @description A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters */
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
                    /** @description `existing` if the request joined a generation and started none */
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
            /** @description Started; `Location` is the path to inspect it */
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
            /** @description `Last-Event-ID` is that of the terminal event, and an earlier request has received the end of the stream */
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
                /**
                 * @description The position up to which the caller has the answer: `last_event_id`, or the part of it after the generation's
                 *     id; default 0
                 */
                after?: number | string;
                /**
                 * @description The longest time to wait for events after `after`, with its unit, such as `20s`; at most `60s`. Default: no wait
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
                /** @description The position after which to start: an event's id, or the part of it after the generation's id */
                after?: number | string;
                /** @description The wire format: `native`, `openai` for OpenAI's chunks, `messages` for Anthropic's events, `responses` for OpenAI's Responses, or `ui` for the AI SDK */
                format?: components["schemas"]["Format"];
                /** @description `snapshot`: a stream from the beginning has one event `snapshot` in place of the past events; native format only */
                replay?: components["schemas"]["Replay"];
            };
            header?: {
                /** @description The id of the last event that the client received; takes precedence over `after` */
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
                    "text/event-stream": components["schemas"]["GenerationEvent"] | components["schemas"]["ChatCompletionEvent"] | components["schemas"]["MessageEvent"] | components["schemas"]["ResponseEvent"] | components["schemas"]["UiChunk"];
                };
            };
            /** @description The position is that of the terminal event: no event will follow. Stops an `EventSource` from reconnecting */
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
    create_message: {
        parameters: {
            query?: never;
            header?: {
                /** @description A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters */
                "Idempotency-Key"?: string;
                /** @description Same as the field `grace_ms`, which takes precedence */
                "Tokenrill-Grace-Ms"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewMessage"];
            };
        };
        responses: {
            /** @description The events, or the message */
            200: {
                headers: {
                    /** @description The generation's id */
                    "Tokenrill-Generation"?: string;
                    /** @description The id of the request */
                    "request-id"?: string;
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["MessageEvent"];
                    "application/json": components["schemas"]["AnthropicMessage"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Conflict */
            409: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Bad Gateway */
            502: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Gateway Timeout */
            504: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
        };
    };
    count_message_tokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewMessage"];
            };
        };
        responses: {
            /** @description The tokens */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessageTokenCount"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Request Timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Payload Too Large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagesError"];
                    "text/event-stream": components["schemas"]["MessageEvent"];
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
    create_response: {
        parameters: {
            query?: never;
            header?: {
                /** @description A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters */
                "Idempotency-Key"?: string;
                /** @description Same as the field `grace_ms`, which takes precedence */
                "Tokenrill-Grace-Ms"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewResponse"];
            };
        };
        responses: {
            /** @description The events, or the response */
            200: {
                headers: {
                    /** @description `existing` if the request joined a generation and started none */
                    "Tokenrill-Attached"?: string;
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                    "application/json": components["schemas"]["OpenAiResponse"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
        };
    };
    count_response_tokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewResponse"];
            };
        };
        responses: {
            /** @description The tokens */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InputTokens"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Request Timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Payload Too Large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
        };
    };
    retrieve_response: {
        parameters: {
            query?: {
                /** @description `true`: the response is the stream of its events */
                stream?: boolean;
                /** @description The `sequence_number` after which the stream begins; only with `stream` */
                starting_after?: number;
            };
            header?: never;
            path: {
                /**
                 * @description The response's id
                 * @example resp_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The response, or its events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiResponse"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
        };
    };
    delete_response: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The response's id
                 * @example resp_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Erased */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeletedResponse"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
        };
    };
    cancel_response: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The response's id
                 * @example resp_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The response, after the stop */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiResponse"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
        };
    };
    list_response_input_items: {
        parameters: {
            query?: {
                /** @description The most items */
                limit?: number;
                /** @description `asc`: oldest first, or `desc`, which is the default */
                order?: "asc" | "desc";
                /** @description The id of the item after which the list begins */
                after?: string;
            };
            header?: never;
            path: {
                /**
                 * @description The response's id
                 * @example resp_AAAAAAAAAAAAAAAAAAAAAA
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The items */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ResponseItems"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Not Found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OpenAiError"];
                    "text/event-stream": components["schemas"]["ResponseEvent"];
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
    send_ui_chat: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewUiChat"];
            };
        };
        responses: {
            /** @description The stream, or the message at the end */
            200: {
                headers: {
                    /** @description `existing` if the request joined a generation and started none */
                    "Tokenrill-Attached"?: string;
                    /** @description The generation's id */
                    "Tokenrill-Generation"?: string;
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["UiChunk"];
                    "application/json": components["schemas"]["UiMessageBody"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Conflict */
            409: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Bad Gateway */
            502: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Gateway Timeout */
            504: {
                headers: {
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
        };
    };
    read_ui_chat: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the chat
                 * @example chat_0123456789abcdef
                 */
                chat_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The chat */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UiChat"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
        };
    };
    stop_ui_chat: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the chat
                 * @example chat_0123456789abcdef
                 */
                chat_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No answer is being written any more */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UiStop"];
                };
            };
            /** @description Bad Request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Unsupported Media Type */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
        };
    };
    resume_ui_chat: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the chat
                 * @example chat_0123456789abcdef
                 */
                chat_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream */
            200: {
                headers: {
                    /** @description The generation's id */
                    "Tokenrill-Generation"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description No answer is being written, and the last one was read */
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
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Unauthorized */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Gone */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Misdirected Request */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Too Many Requests */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Internal Server Error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": components["schemas"]["UiError"];
                    "text/event-stream": components["schemas"]["UiChunk"];
                };
            };
        };
    };
    list_upstreams: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The upstreams */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UpstreamList"];
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
    sum_usage: {
        parameters: {
            query?: {
                /**
                 * @description What the rows are grouped by: `principal`, `model`, `upstream` and `day`, separated by commas. Default: one row
                 *     with the sum of everything
                 * @example principal,day
                 */
                by?: string;
                /**
                 * @description The first day, in UTC; default: the first of the 62 days that are kept
                 * @example 2026-12-01
                 */
                from?: string;
                /**
                 * @description The last day, in UTC; default: today
                 * @example 2026-12-31
                 */
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The sums */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UsageRows"];
                    "text/csv": string;
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
  restart: components["schemas"]["RestartData"];
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
