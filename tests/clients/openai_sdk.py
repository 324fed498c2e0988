"""Uses the service through OpenAI's SDK for Python as any program would: another base URL, nothing else.

    python openai_sdk.py BASE_URL [litellm]

The service serves the embedded model and ends a generation after a few seconds (`generation.max_duration`). Checks that a
named proxy between the service and the model is known to break are skipped. Exit code 0 only if every check passed; each
one that failed is printed.
"""

import asyncio
import time
import uuid

import openai
from promises import (
    BASE_URL,
    GUARDED_KEY,
    GUARDED_URL,
    LARGE_TEXT,
    LONG,
    MESSAGES,
    MODEL,
    THROUGH,
    TOO_LARGE,
    asked,
    cut_after,
    figures,
    joined,
    keep,
    service,
    stopped,
    stops,
)

RENAMED = "LiteLLM renames retry-after of a refusal to llm_provider-retry-after, which SDKs do not read"
BREAKS = {
    "litellm": {
        "rate limit has retry-after, and the SDK waits as long": RENAMED,
        "rate limit with a wait above a minute is not retried": RENAMED,
        "each refusal has its class": "LiteLLM has other codes",
    },
}

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="unused", max_retries=0)
repeating = client.with_options(max_retries=1)
completions = client.chat.completions

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


def far(code):
    """Returns the code of a failed upstream: a proxy reports failures behind it as its own."""
    return "upstream_error" if THROUGH else code


def theirs(code, status):
    """Returns the code of a request that the upstream rejects: LiteLLM has the status as its code."""
    return str(status) if THROUGH else code


def streamed(body):
    return list(completions.create(**body, stream=True))


def refused(call, kind, **members):
    """Returns the error of a call, which must have this class and these members."""
    try:
        call()
    except openai.APIError as error:
        assert type(error) is kind, f"{error!r} is not {kind}"
        for name, value in members.items():
            assert getattr(error, name) == value, f"{name} of {error!r}: {getattr(error, name)!r}"
        if isinstance(error, openai.APIStatusError):
            assert error.request_id.startswith("req_"), error.request_id
        return error
    raise AssertionError("it was not refused")


def models():
    """models are listed, and each is found"""
    assert any(model.id == "demo" and model.object == "model" for model in client.models.list())
    assert client.models.retrieve("demo").id == "demo"
    refused(lambda: client.models.retrieve("no-such-model"), openai.NotFoundError, code="model_not_found")


def stream_and_whole():
    """stream has the text of the whole answer, in valid chunks"""
    body = asked("tokens=80&rate=max")
    whole = completions.create(**body)
    assert (whole.object, whole.choices[0].finish_reason) == ("chat.completion", "stop")
    assert whole.usage.completion_tokens > 0
    chunks = streamed(body)
    assert len(chunks) > 20, "token by token"
    assert joined(chunks, "content") == whole.choices[0].message.content
    for name in ["id", "created", "model", "object"]:
        assert len({getattr(chunk, name) for chunk in chunks}) == 1, f"{name} is constant"
    roles = [chunk.choices[0].delta.role for chunk in chunks]
    assert roles[0] == "assistant" and not any(roles[1:]), roles
    assert [reason for chunk in chunks if (reason := chunk.choices[0].finish_reason)] == ["stop"]
    assert not any(chunk.usage for chunk in chunks), "usage only where asked for"


def usage():
    """usage is in the last chunk if it is requested"""
    body = asked("tokens=9&rate=max")
    *chunks, last = streamed(body | {"stream_options": {"include_usage": True}})
    # LiteLLM adds details to one of the two.
    totals = lambda usage: (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    assert last.choices == [] and totals(last.usage) == totals(completions.create(**body).usage)
    assert not any(chunk.usage for chunk in chunks)


def choices():
    """each choice has its own text"""
    body = asked("tokens=12&rate=max", n=2)
    whole = completions.create(**body)
    assert [(one.index, one.finish_reason) for one in whole.choices] == [(0, "stop"), (1, "stop")]
    chunks = streamed(body)
    for one in whole.choices:
        assert joined(chunks, "content", one.index) == one.message.content
    with completions.stream(**body) as stream:
        final = stream.until_done().get_final_completion()
    assert [one.message.content for one in final.choices] == [one.message.content for one in whole.choices]


def tools():
    """tool is called, streamed or not, and its result continues the conversation"""
    body = asked("tool=weather&rate=max&tokens=20", tools=[WEATHER])
    whole = completions.create(**body).choices[0]
    (call,) = whole.message.tool_calls
    assert (whole.finish_reason, call.type, call.function.name) == ("tool_calls", "function", "weather")
    pieces = [piece for chunk in streamed(body) for one in chunk.choices for piece in one.delta.tool_calls or []]
    assert (pieces[0].index, pieces[0].function.name) == (0, "weather") and pieces[0].id
    assert "".join(piece.function.arguments or "" for piece in pieces) == call.function.arguments
    with completions.stream(**body) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.done" in kinds
    assert final.tool_calls[0].function.parsed_arguments["city"] == "Zürich"
    result = {"role": "tool", "tool_call_id": call.id, "content": "Rain."}
    after = completions.create(**body | {"messages": [*MESSAGES, whole.message, result]})
    assert after.choices[0].finish_reason == "stop" and after.choices[0].message.content


def fields():
    """response format and unknown fields are sent to the model"""
    more = {"response_format": {"type": "json_object"}, "seed": 7, "extra_body": {"unknown_field": 1}}
    assert completions.create(**asked("tokens=5&rate=max"), **more).choices[0].finish_reason == "stop"
    cut = completions.create(**asked("tokens=50&rate=max", max_completion_tokens=3))
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 3)


def logprobs():
    """each token has its log probabilities"""
    body = asked("tokens=6&rate=max", logprobs=True, top_logprobs=2)
    content = completions.create(**body).choices[0].logprobs.content
    assert [len(token.top_logprobs) for token in content] == [2] * 6
    told = [one.logprobs for chunk in streamed(body) for one in chunk.choices if one.logprobs]
    assert [token for logprobs in told for token in logprobs.content or []] == content


def reasoning():
    """reasoning is a separate field"""
    body = asked("tokens=6&reasoning=9&rate=max")
    message = completions.create(**body).choices[0].message
    assert len(message.reasoning_content) > 9
    chunks = streamed(body)
    assert (joined(chunks, "reasoning_content"), joined(chunks, "content")) == (
        message.reasoning_content,
        message.content,
    )


def leaving_a_stream():
    """close stops the model, and so does the end of a with block or a helper"""

    def close():
        stream = completions.create(**asked(LONG), stream=True)
        next(stream)
        stream.close()

    def leave_with():
        with completions.create(**asked(LONG), stream=True) as stream:
            next(stream)

    def leave_helper():
        with completions.stream(**asked(LONG)) as stream:
            next(iter(stream))

    for leave in [close, leave_with, leave_helper]:
        stops(leave)


def leaving_before_a_token():
    """cancellation and timeout stop the model before its first token and without a stream"""
    for body in [asked("first_token=1h", stream=True), asked("first_token=1h"), asked(LONG)]:

        async def cancel(body=body):
            async with openai.AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key="unused", max_retries=0) as client:
                call = asyncio.create_task(client.chat.completions.create(**body))
                while (await asyncio.to_thread(figures))[0] != 1:
                    await asyncio.sleep(0.02)
                call.cancel()
                await asyncio.wait([call])
                assert call.cancelled()

        stops(lambda: asyncio.run(cancel()))
    stops(lambda: refused_by_timeout(asked(LONG)))


def refused_by_timeout(body):
    try:
        completions.create(**body, timeout=0.5)
    except openai.APITimeoutError:
        return
    raise AssertionError("it did not time out")


def bad_request():
    """invalid field is a bad request that names it"""
    hot = refused(
        lambda: completions.create(**asked("", temperature="hot")),
        openai.BadRequestError,
        status_code=400,
        code="invalid_request",
        param="temperature",
        type="invalid_request_error",
    )
    assert hot.response.headers["x-should-retry"] == "false"
    nameless = {"model": MODEL, "messages": [{"content": "Hi"}], "stream": True}
    refused(lambda: completions.create(**nameless), openai.BadRequestError, param="messages[0].role")
    steering = asked("", extra_body={"base_url": "http://elsewhere"})
    refused(lambda: completions.create(**steering), openai.BadRequestError, param="base_url")


def unknown_model():
    """unknown model is not found"""
    for stream in [False, True]:
        call = lambda: completions.create(model=MODEL.replace("demo", "no-such-model"), messages=MESSAGES, stream=stream)
        refused(call, openai.NotFoundError, status_code=404, code=theirs("model_not_found", 404))


def size_and_type():
    """body that is too large is refused with 413, another content type with 415"""
    large = {"model": MODEL, "messages": [{"role": "user", "content": "x" * (17 << 20)}]}
    refused(lambda: completions.create(**large), openai.APIStatusError, status_code=413, code="body_too_large")
    plain = asked("", extra_headers={"content-type": "text/plain"})
    refused(lambda: completions.create(**plain), openai.APIStatusError, status_code=415, code="unsupported_media_type")


def invalid_upstream():
    """request that the upstream rejects is a bad request"""
    call = lambda: completions.create(**asked("status=400"))
    refused(call, openai.BadRequestError, status_code=400, code=theirs("demo_status", 400))
    if not THROUGH:
        call = lambda: completions.create(**asked("status=422"))
        refused(call, openai.UnprocessableEntityError, status_code=422, code="demo_status")


def said(error):
    return [error.response.headers[name] for name in ["retry-after", "retry-after-ms", "x-should-retry"]]


def calls_of(call, kind):
    """Returns the number of requests that the SDK sends, the seconds that this takes, and the error."""
    calls = []
    hook = repeating._client.event_hooks
    repeating._client.event_hooks = {"request": [calls.append]}
    began = time.monotonic()
    error = refused(call, kind)
    repeating._client.event_hooks = hook
    return len(calls), time.monotonic() - began, error


def refusals():
    """each refusal has its class"""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    completions.create(**asked("tokens=1&rate=max"), extra_headers=key)
    create = lambda options, **fields: lambda more: completions.create(**asked(options, **fields) | more)
    whole = lambda channel: completions.create(**asked(LONG), extra_body={"channel": channel})
    wrong, failed, limited = "invalid_request_error", "server_error", "rate_limit_error"
    table = [
        (openai.BadRequestError, 400, "invalid_request", wrong, create("", temperature="hot")),
        (openai.BadRequestError, 400, "demo_status", wrong, create("status=400")),
        (openai.NotFoundError, 404, "model_not_found", wrong, lambda more: create("")({"model": "no-such-model"} | more)),
        (openai.NotFoundError, 404, "demo_status", wrong, create("status=404")),
        (openai.APIStatusError, 413, "body_too_large", wrong, create("", user=LARGE_TEXT)),
        (openai.APIStatusError, 413, "demo_status", wrong, create("status=413")),
        (openai.UnprocessableEntityError, 422, "demo_status", wrong, create("status=422")),
        (openai.UnprocessableEntityError, 422, "idempotency_conflict", wrong, create("tokens=2", extra_headers=key)),
        (openai.RateLimitError, 429, "upstream_rate_limited", limited, create("status=429")),
        (openai.InternalServerError, 502, "upstream_error", failed, create("status=500")),
        (openai.InternalServerError, 503, "upstream_overloaded", failed, create("status=503")),
        (openai.InternalServerError, 503, "upstream_overloaded", failed, create("status=529")),
    ]
    only_whole = [
        (openai.ConflictError, 409, "cancelled", wrong, lambda _: stopped(whole)),
        (openai.InternalServerError, 500, "too_large", failed, create(TOO_LARGE, logprobs=True, top_logprobs=20)),
    ]
    assert GUARDED_URL, "GUARDED_URL and GUARDED_KEY are missing: see promises.py"
    guarded = lambda key: openai.OpenAI(base_url=f"{GUARDED_URL}/v1", api_key=key, max_retries=0)
    call = lambda key: lambda more: guarded(key).chat.completions.create(**asked("tokens=1") | more)
    table += [
        (openai.AuthenticationError, 401, "credential_invalid", "authentication_error", call("unused")),
        (openai.PermissionDeniedError, 403, "forbidden", "permission_error", call(GUARDED_KEY)),
    ]
    for stream, rows in [(False, table + only_whole), (True, table)]:
        for kind, status, code, type, call in rows:
            refused(lambda: call({"stream": stream}), kind, status_code=status, code=code, type=type)


def rate_limit():
    """rate limit is a rate limit error"""
    members = {"status_code": 429, "code": "upstream_rate_limited", "type": "rate_limit_error"}
    for stream in [False, True]:
        refused(lambda: completions.create(**asked("status=429"), stream=stream), openai.RateLimitError, **members)


def short_wait():
    """rate limit has retry-after, and the SDK waits as long"""
    for stream in [False, True]:
        call = lambda: completions.create(**asked("status=429&retry_after=1"), stream=stream)
        assert said(refused(call, openai.RateLimitError)) == ["1", "1000", "true"]
    call = lambda: repeating.chat.completions.create(**asked("status=429&retry_after=1"))
    count, seconds, _ = calls_of(call, openai.RateLimitError)
    assert count == 2 and seconds >= 0.99, (count, seconds)


def long_wait():
    """rate limit with a wait above a minute is not retried"""
    call = lambda: repeating.chat.completions.create(**asked("status=429&retry_after=120"))
    count, _, error = calls_of(call, openai.RateLimitError)
    assert (count, said(error)) == (1, ["120", "120000", "false"])


def server_failures():
    """failure of the upstream is an internal server error and is not retried"""
    for options, status, code in [
        ("status=401", 502, far("upstream_auth")),
        ("status=403", 502, far("upstream_auth")),
        ("status=500", 502, "upstream_error"),
        ("status=503", 503, "upstream_overloaded"),
    ]:
        for stream in [False, True]:
            call = lambda: repeating.chat.completions.create(**asked(options), stream=stream)
            count, _, error = calls_of(call, openai.InternalServerError)
            assert (count, error.status_code, error.code) == (1, status, code), (options, count, error)


def early_failures():
    """failure before the first token is a status"""
    for options, code in [("fail_at=0", "upstream_error"), ("close_at=0", far("upstream_disconnected"))]:
        call = lambda: completions.create(**asked(options), stream=True)
        refused(call, openai.InternalServerError, status_code=502, code=code)


def broken_answers():
    """whole answer that is cut or fails is an error"""
    for options, code in [("fail_at=5", "upstream_error"), ("close_at=5", far("upstream_disconnected"))]:
        call = lambda: completions.create(**asked(f"{options}&rate=max"))
        refused(call, openai.InternalServerError, status_code=502, code=code)


def failure_in_stream():
    """failure in the stream is an error with its code"""
    refused(lambda: streamed(asked("fail_at=5&rate=max")), openai.APIError, code="upstream_error", type="server_error")


def cut_in_stream():
    """cut of the upstream in the stream is an error, not a normal end"""
    refused(lambda: streamed(asked("close_at=5&rate=max")), openai.APIError, code=far("upstream_disconnected"))


def cut_connection():
    """cut of the connection in the stream is an error, not a normal end"""
    stops(lambda: refused(lambda: cut_after(completions.create(**asked(LONG), stream=True), 3), openai.APIConnectionError))


def silence():
    """silent upstream ends at the deadline, as a status or in the stream"""
    timeout = {"status_code": 504, "code": "deadline_exceeded"}
    refused(lambda: completions.create(**asked("first_token=1h")), openai.InternalServerError, **timeout)
    refused(lambda: streamed(asked("stall_at=5&rate=max")), openai.APIError, code="deadline_exceeded")


def stopped_generation():
    """stopped generation is an error in its stream"""
    raw = completions.with_raw_response.create(**asked(LONG), stream=True)
    service.post(f"/v1/generations/{raw.headers['tokenrill-generation']}/cancel").raise_for_status()
    refused(lambda: list(raw.parse()), openai.APIError, code="cancelled")


def request_ids():
    """each response has a request id"""
    whole = completions.create(**asked("tokens=2&rate=max"))
    stream = completions.with_raw_response.create(**asked("tokens=2&rate=max"), stream=True)
    assert whole._request_id.startswith("req_") and stream.request_id.startswith("req_")
    assert whole._request_id != stream.request_id
    list(stream.parse())


CHECKS = [
    models,
    stream_and_whole,
    usage,
    choices,
    tools,
    fields,
    logprobs,
    reasoning,
    leaving_a_stream,
    leaving_before_a_token,
    bad_request,
    unknown_model,
    size_and_type,
    invalid_upstream,
    refusals,
    rate_limit,
    short_wait,
    long_wait,
    server_failures,
    early_failures,
    broken_answers,
    failure_in_stream,
    cut_in_stream,
    cut_connection,
    silence,
    stopped_generation,
    request_ids,
]

keep(CHECKS, BREAKS)
