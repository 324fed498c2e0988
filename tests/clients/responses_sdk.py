"""Uses the Responses API through OpenAI's SDK for Python as any program would: another base URL, nothing else.

    python responses_sdk.py BASE_URL

The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
"""

import uuid

import openai
from promises import (
    BASE_URL,
    GUARDED_KEY,
    GUARDED_URL,
    LARGE_TEXT,
    LONG,
    TOO_LARGE,
    cut_after,
    figures,
    keep,
    stopped,
    stops,
)

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="unused", max_retries=0)
responses = client.responses
INPUT = "Tell me about Tokenrill, Grüße 🌊."
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": None,
}


def asked(options, **more):
    return {"model": f"demo?{options}", "input": INPUT, **more}


def refused(call, kind, status, code, type="invalid_request_error"):
    try:
        call()
    except openai.APIStatusError as error:
        seen = (error.__class__, error.status_code, error.code, error.type)
        assert seen == (kind, status, code, type), seen
        assert error.request_id.startswith("req_"), error.request_id
        return
    raise AssertionError("it was not refused")


def stream_and_whole():
    """stream, helper and retrieved response have the text of the whole one"""
    body = asked("tokens=80&rate=max")
    whole = responses.create(**body)
    assert (whole.status, whole.object) == ("completed", "response")
    assert len(whole.output_text) > 100 and whole.usage.output_tokens > 0
    events = list(responses.create(**body, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    with responses.stream(**body) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert responses.retrieve(final.id).output_text == whole.output_text


def reasoning():
    """reasoning is a summary before the text"""
    response = responses.create(**asked("reasoning=5&tokens=5&rate=max"))
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert len(response.output[0].summary[0].text) > 5


def tools():
    """calls and their results continue a response by its id"""
    with responses.stream(**asked("tool=weather&rate=max", tools=[WEATHER])) as stream:
        first = stream.until_done().get_final_response()
    call = next(item for item in first.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "20 degrees"}
    second = responses.create(**{**asked("tokens=20&rate=max"), "input": [result]}, previous_response_id=first.id)
    assert second.output_text and second.previous_response_id == first.id
    assert [item.type for item in responses.input_items.list(second.id)] == ["function_call_output"]


def resumed():
    """stream is resumed after each number"""
    events = list(responses.create(**asked("reasoning=2&tokens=4&rate=max"), stream=True))
    identity = events[-1].response.id
    for number in range(len(events)):
        rest = list(responses.retrieve(identity, stream=True, starting_after=number))
        assert rest == events[number + 1 :], number


def background():
    """response in the background is cancelled and deleted"""
    begun = responses.create(**asked(LONG), background=True)
    assert begun.status == "in_progress"
    assert responses.cancel(begun.id).status == "cancelled"
    responses.delete(begun.id)
    refused(lambda: responses.retrieve(begun.id), openai.NotFoundError, 404, "generation_not_found")


def refusals():
    """each refusal has its class"""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    responses.create(**asked("tokens=1&rate=max"), extra_headers=key)
    create = lambda options, **fields: lambda more: responses.create(**asked(options, **fields) | more)
    wrong, failed, limited = "invalid_request_error", "server_error", "rate_limit_error"
    table = [
        (openai.BadRequestError, 400, "unsupported_parameter", wrong, create("", conversation="c")),
        (openai.BadRequestError, 400, "previous_response_not_found", wrong, create("", previous_response_id="resp_x")),
        (openai.BadRequestError, 400, "demo_status", wrong, create("status=400")),
        (openai.NotFoundError, 404, "model_not_found", wrong, lambda more: create("")({"model": "none/such"} | more)),
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
    probable = {"include": ["message.output_text.logprobs"], "top_logprobs": 20}
    only_whole = [(openai.InternalServerError, 500, "too_large", failed, create(TOO_LARGE, **probable))]
    assert GUARDED_URL, "GUARDED_URL and GUARDED_KEY are missing: see promises.py"
    guarded = lambda key: openai.OpenAI(base_url=f"{GUARDED_URL}/v1", api_key=key, max_retries=0)
    call = lambda key: lambda more: guarded(key).responses.create(**asked("tokens=1") | more)
    table += [
        (openai.AuthenticationError, 401, "credential_invalid", "authentication_error", call("unused")),
        (openai.PermissionDeniedError, 403, "forbidden", "permission_error", call(GUARDED_KEY)),
    ]
    for stream, rows in [(False, table + only_whole), (True, table)]:
        for kind, status, code, type, call in rows:
            refused(lambda: call({"stream": stream}), kind, status, code, type)


def failures():
    """failure in the stream is a failed response, and a limit an incomplete one"""
    for options in ["tokens=20&fail_at=5&rate=max", "tokens=20&close_at=5&rate=max"]:
        last = list(responses.create(**asked(options), stream=True))[-1]
        assert (last.type, last.response.error.code) == ("response.failed", "server_error"), options
    limited = responses.create(**asked("tokens=5&finish=length&rate=max"))
    assert (limited.status, limited.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    cancelled = stopped(lambda channel: responses.create(**asked(LONG), extra_body={"channel": channel}))
    assert (cancelled.status, cancelled.incomplete_details.reason) == ("cancelled", "cancelled")


def cut_connection():
    """cut of the connection in the stream is an error, not a normal end"""

    def leave():
        try:
            cut_after(responses.create(**asked(LONG), stream=True), 7)
        except openai.APIConnectionError:
            return
        raise AssertionError("it ended as if it were whole")

    stops(leave)


def leaving():
    """close and timeout stop the model, streaming or not"""

    def close():
        with responses.create(**asked(LONG), stream=True) as stream:
            next(iter(stream))

    def time_out():
        try:
            client.with_options(timeout=0.5).responses.create(**asked(LONG))
        except openai.APITimeoutError:
            return
        raise AssertionError("it did not time out")

    stops(close)
    stops(time_out)
    assert figures()[0] == 0


CHECKS = [stream_and_whole, reasoning, tools, resumed, background, refusals, failures, cut_connection, leaving]
keep(CHECKS, {})
