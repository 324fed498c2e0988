"""Uses the service through OpenAI's SDK for Python as any program would: another base URL, nothing else.

    python openai_sdk.py BASE_URL [litellm]

The service serves the embedded model and ends a generation after a few seconds
(`generation.max_duration`). What a named proxy between it and the model is known to
break is told and left out. Exit code 0 only if every promise held; each broken one is printed.
"""

import asyncio
import time

import openai
from promises import BASE_URL, MESSAGES, MODEL, THROUGH, asked, figures, joined, keep, service, stops

RENAMED = "LiteLLM passes a refusal's retry-after on as llm_provider-retry-after, which nobody reads"
BREAKS = {
    "litellm": {
        "a rate limit tells when to come back, and the SDK obeys": RENAMED,
        "a wait above a minute is not repeated": RENAMED,
    },
}

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="unused", max_retries=0)
repeating = client.with_options(max_retries=1)
completions = client.chat.completions

LONG = "tokens=2000&rate=20"
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
    """Through a proxy the model's server is the proxy, and what goes wrong behind it is its error."""
    return "upstream_error" if THROUGH else code


def theirs(code, status):
    """What a model's server says of a request that it rejects passes; LiteLLM says its status."""
    return str(status) if THROUGH else code


def streamed(body):
    return list(completions.create(**body, stream=True))


def refused(call, kind, **members):
    """The error that a call ends with, which must be of this class and hold these members."""
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
    """the models are listed, and each is found"""
    assert any(model.id == "demo" and model.object == "model" for model in client.models.list())
    assert client.models.retrieve("demo").id == "demo"
    refused(lambda: client.models.retrieve("no-such-model"), openai.NotFoundError, code="model_not_found")


def stream_and_whole():
    """a stream is the same text as the whole answer, in well-formed chunks"""
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
    """usage comes last where it is asked for"""
    body = asked("tokens=9&rate=max")
    *chunks, last = streamed(body | {"stream_options": {"include_usage": True}})
    # LiteLLM adds details to one of the two.
    totals = lambda usage: (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    assert last.choices == [] and totals(last.usage) == totals(completions.create(**body).usage)
    assert not any(chunk.usage for chunk in chunks)


def choices():
    """choices are told apart"""
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
    """a tool is called, streamed or not, and its result is answered"""
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
    """a response format and unknown fields are passed on"""
    more = {"response_format": {"type": "json_object"}, "seed": 7, "extra_body": {"nobody_knows": 1}}
    assert completions.create(**asked("tokens=5&rate=max"), **more).choices[0].finish_reason == "stop"
    cut = completions.create(**asked("tokens=50&rate=max", max_completion_tokens=3))
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 3)


def logprobs():
    """log probabilities come with each token"""
    body = asked("tokens=6&rate=max", logprobs=True, top_logprobs=2)
    content = completions.create(**body).choices[0].logprobs.content
    assert [len(token.top_logprobs) for token in content] == [2] * 6
    told = [one.logprobs for chunk in streamed(body) for one in chunk.choices if one.logprobs]
    assert [token for logprobs in told for token in logprobs.content or []] == content


def reasoning():
    """reasoning is a field of its own"""
    body = asked("tokens=6&reasoning=9&rate=max")
    message = completions.create(**body).choices[0].message
    assert len(message.reasoning_content) > 9
    chunks = streamed(body)
    assert (joined(chunks, "reasoning_content"), joined(chunks, "content")) == (
        message.reasoning_content,
        message.content,
    )


def leaving_a_stream():
    """leaving stops the model: close, the end of a with, a helper's end"""

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
    """leaving stops the model before its first token and without a stream"""
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
    """a wrong field is a bad request that names it"""
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
    """an unknown model is not found"""
    for stream in [False, True]:
        call = lambda: completions.create(model=MODEL.replace("demo", "no-such-model"), messages=MESSAGES, stream=stream)
        refused(call, openai.NotFoundError, status_code=404, code=theirs("model_not_found", 404))


def size_and_type():
    """too large and of the wrong type are refused by status"""
    large = {"model": MODEL, "messages": [{"role": "user", "content": "x" * (17 << 20)}]}
    refused(lambda: completions.create(**large), openai.APIStatusError, status_code=413, code="body_too_large")
    plain = asked("", extra_headers={"content-type": "text/plain"})
    refused(lambda: completions.create(**plain), openai.APIStatusError, status_code=415, code="unsupported_media_type")


def invalid_upstream():
    """what the model's server refuses as invalid is a bad request"""
    call = lambda: completions.create(**asked("status=400"))
    refused(call, openai.BadRequestError, status_code=400, code=theirs("demo_status", 400))
    if not THROUGH:
        call = lambda: completions.create(**asked("status=422"))
        refused(call, openai.UnprocessableEntityError, status_code=422, code="demo_status")


def said(error):
    return [error.response.headers[name] for name in ["retry-after", "retry-after-ms", "x-should-retry"]]


def calls_of(call, kind):
    """How often the SDK asks, and how long that takes."""
    calls = []
    hook = repeating._client.event_hooks
    repeating._client.event_hooks = {"request": [calls.append]}
    began = time.monotonic()
    error = refused(call, kind)
    repeating._client.event_hooks = hook
    return len(calls), time.monotonic() - began, error


def rate_limit():
    """a rate limit is a rate limit"""
    members = {"status_code": 429, "code": "upstream_rate_limited", "type": "rate_limit_error"}
    for stream in [False, True]:
        refused(lambda: completions.create(**asked("status=429"), stream=stream), openai.RateLimitError, **members)


def short_wait():
    """a rate limit tells when to come back, and the SDK obeys"""
    for stream in [False, True]:
        call = lambda: completions.create(**asked("status=429&retry_after=1"), stream=stream)
        assert said(refused(call, openai.RateLimitError)) == ["1", "1000", "true"]
    call = lambda: repeating.chat.completions.create(**asked("status=429&retry_after=1"))
    count, seconds, _ = calls_of(call, openai.RateLimitError)
    assert count == 2 and seconds >= 0.99, (count, seconds)


def long_wait():
    """a wait above a minute is not repeated"""
    call = lambda: repeating.chat.completions.create(**asked("status=429&retry_after=120"))
    count, _, error = calls_of(call, openai.RateLimitError)
    assert (count, said(error)) == (1, ["120", "120000", "false"])


def server_failures():
    """a failure of the model's server is an internal server error, never repeated"""
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
    """a failure before the first token is a status"""
    for options, code in [("fail_at=0", "upstream_error"), ("close_at=0", far("upstream_disconnected"))]:
        call = lambda: completions.create(**asked(options), stream=True)
        refused(call, openai.InternalServerError, status_code=502, code=code)


def broken_answers():
    """an answer that breaks off is no answer"""
    for options, code in [("fail_at=5", "upstream_error"), ("close_at=5", far("upstream_disconnected"))]:
        call = lambda: completions.create(**asked(f"{options}&rate=max"))
        refused(call, openai.InternalServerError, status_code=502, code=code)


def failure_in_stream():
    """a failure in mid-stream is an error with its code"""
    refused(lambda: streamed(asked("fail_at=5&rate=max")), openai.APIError, code="upstream_error", type="server_error")


def cut_in_stream():
    """a cut in mid-stream is an error, never a clean end"""
    refused(lambda: streamed(asked("close_at=5&rate=max")), openai.APIError, code=far("upstream_disconnected"))


def silence():
    """the model's silence ends in time, as a status or in the stream"""
    timeout = {"status_code": 504, "code": "deadline_exceeded"}
    refused(lambda: completions.create(**asked("first_token=1h")), openai.InternalServerError, **timeout)
    refused(lambda: streamed(asked("stall_at=5&rate=max")), openai.APIError, code="deadline_exceeded")


def stopped():
    """a generation that somebody stops is an error in its stream"""
    raw = completions.with_raw_response.create(**asked(LONG), stream=True)
    service.post(f"/v1/generations/{raw.headers['tokenrill-generation']}/cancel").raise_for_status()
    refused(lambda: list(raw.parse()), openai.APIError, code="cancelled")


def request_ids():
    """every answer has a request id"""
    whole = completions.create(**asked("tokens=2&rate=max"))
    stream = completions.with_raw_response.create(**asked("tokens=2&rate=max"), stream=True)
    assert whole._request_id.startswith("req_") and stream.request_id.startswith("req_")
    assert whole._request_id != stream.request_id
    list(stream.parse())


# 401, 403 and 422 do not arise before there are keys and idempotency. 409 answers a call whose generation
# is cancelled while it waits for the whole: nobody outside knows that generation's id, so no SDK is shown it.
PROMISES = [
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
    rate_limit,
    short_wait,
    long_wait,
    server_failures,
    early_failures,
    broken_answers,
    failure_in_stream,
    cut_in_stream,
    silence,
    stopped,
    request_ids,
]

keep(PROMISES, BREAKS)
