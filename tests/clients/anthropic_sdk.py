"""Uses the service through Anthropic's SDK for Python as any program would: another base URL, nothing else.

    python anthropic_sdk.py BASE_URL

The service serves the embedded model, which has OpenAI's dialect. Exit code 0 only if every check passed; each one that
failed is printed.
"""

import uuid

import anthropic
import httpx2
from promises import (
    BASE_URL,
    GUARDED_KEY,
    GUARDED_URL,
    LARGE_TEXT,
    LONG,
    MESSAGES,
    TOO_LARGE,
    cut_after,
    figures,
    keep,
    stopped,
    stops,
)

client = anthropic.Anthropic(base_url=BASE_URL, api_key="unused", max_retries=0)
messages = client.messages
WEATHER = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def asked(options, **more):
    return {"model": f"demo?{options}", "max_tokens": 4096, "messages": MESSAGES, **more}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def refused(call, kind, status, type, code):
    try:
        call()
    except anthropic.APIStatusError as error:
        seen = (error.__class__, error.status_code, error.type, error.error_code)
        assert seen == (kind, status, type, code), seen
        assert error.request_id.startswith("req_"), error.request_id
        return
    raise AssertionError("it was not refused")


def stream_and_whole():
    """stream and helper return the text of the whole message"""
    body = asked("tokens=80&rate=max")
    whole = messages.create(**body)
    assert (whole.stop_reason, whole.role, len(whole.content)) == ("end_turn", "assistant", 1)
    assert whole.usage.output_tokens > 0
    events = list(messages.create(**body, stream=True))
    assert "".join(event.delta.text for event in events if event.type == "content_block_delta") == text_of(whole)
    with messages.stream(**body) as stream:
        assert "".join(stream.text_stream) == text_of(whole)
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens


def tools():
    """tool is called, and its result continues the conversation"""
    body = asked("tool=weather&rate=max&tokens=20", tools=[WEATHER])
    whole = messages.create(**body)
    call = next(block for block in whole.content if block.type == "tool_use")
    assert (whole.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": "Zürich", "unit": "celsius"})
    with messages.stream(**body) as stream:
        final = stream.get_final_message()
    assert next(block for block in final.content if block.type == "tool_use").input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "Rain."}]}
    turn = [*MESSAGES, {"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    assert messages.create(**{**body, "messages": turn}).stop_reason == "end_turn"


def thinking():
    """thinking precedes the text"""
    with messages.stream(**asked("tokens=6&reasoning=9&rate=max")) as stream:
        assert [block.type for block in stream.get_final_message().content] == ["thinking", "text"]


def refusals():
    """each refusal has its class"""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    messages.create(**asked("tokens=1&rate=max"), extra_headers=key)
    create = lambda options, **fields: lambda more: messages.create(**asked(options, **fields) | more)
    whole = lambda channel: messages.create(**asked(LONG), extra_body={"channel": channel})
    wrong, failed, overloaded = "invalid_request_error", "api_error", "overloaded_error"
    table = [
        (anthropic.BadRequestError, 400, wrong, "invalid_request", create("", extra_body={"temperature": "hot"})),
        (anthropic.BadRequestError, 400, wrong, "demo_status", create("status=400")),
        (anthropic.NotFoundError, 404, "not_found_error", "model_not_found", lambda more: create("")({"model": "none/such"} | more)),
        (anthropic.NotFoundError, 404, "not_found_error", "demo_status", create("status=404")),
        (anthropic.ContentTooLargeError, 413, "request_too_large", "body_too_large", create("", system=LARGE_TEXT)),
        (anthropic.UnprocessableEntityError, 422, wrong, "demo_status", create("status=422")),
        (anthropic.UnprocessableEntityError, 422, wrong, "idempotency_conflict", create("tokens=2", extra_headers=key)),
        (anthropic.RateLimitError, 429, "rate_limit_error", "upstream_rate_limited", create("status=429")),
        (anthropic.InternalServerError, 502, failed, "upstream_error", create("status=500")),
        (anthropic.InternalServerError, 502, failed, "upstream_auth", create("status=401")),
        (anthropic.ServiceUnavailableError, 503, overloaded, "upstream_overloaded", create("status=503")),
        (anthropic.ServiceUnavailableError, 503, overloaded, "upstream_overloaded", create("status=529")),
    ]
    probable = {"logprobs": True, "top_logprobs": 20}
    only_whole = [
        (anthropic.ConflictError, 409, "conflict_error", "cancelled", lambda _: stopped(whole)),
        (anthropic.InternalServerError, 500, failed, "too_large", create(TOO_LARGE, extra_body=probable)),
    ]
    assert GUARDED_URL, "GUARDED_URL and GUARDED_KEY are missing: see promises.py"
    guarded = lambda key: anthropic.Anthropic(base_url=GUARDED_URL, api_key=key, max_retries=0)
    call = lambda key: lambda more: guarded(key).messages.create(**asked("tokens=1") | more)
    table += [
        (anthropic.AuthenticationError, 401, "authentication_error", "credential_invalid", call("unused")),
        (anthropic.PermissionDeniedError, 403, "permission_error", "forbidden", call(GUARDED_KEY)),
    ]
    for stream, rows in [(False, table + only_whole), (True, table)]:
        for kind, status, type, code, call in rows:
            refused(lambda: call({"stream": stream}), kind, status, type, code)


def failure_in_the_stream():
    """failure in the stream is an error, and so is a cut"""
    for options, code in [("fail_at=5&rate=max", "upstream_error"), ("close_at=5&rate=max", "upstream_disconnected")]:
        read = lambda: list(messages.create(**asked(options), stream=True))
        # The status is that of the response that the stream began with.
        refused(read, anthropic.APIStatusError, 200, "api_error", code)


def cut_connection():
    """cut of the connection in the stream is the error of httpx2, not a normal end"""

    def leave():
        try:
            cut_after(messages.create(**asked(LONG), stream=True), 3)
        except httpx2.RemoteProtocolError:
            return
        raise AssertionError("it ended as if it were whole")

    stops(leave)


def leaving():
    """close and timeout stop the model, streaming or not"""

    def close():
        with messages.create(**asked(LONG), stream=True) as stream:
            next(iter(stream))

    def time_out():
        try:
            client.with_options(timeout=0.5).messages.create(**asked(LONG))
        except anthropic.APITimeoutError:
            return
        raise AssertionError("it did not time out")

    stops(close)
    stops(time_out)


def counting():
    """tokens are counted"""
    assert messages.count_tokens(model="demo", messages=MESSAGES).input_tokens > 5
    assert figures()[0] == 0


CHECKS = [stream_and_whole, tools, thinking, refusals, failure_in_the_stream, cut_connection, leaving, counting]
keep(CHECKS, {})
