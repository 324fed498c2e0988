"""Uses the service through Anthropic's SDK for Python as any program would: another base URL, nothing else.

    python anthropic_sdk.py BASE_URL

The service serves the embedded model, which has OpenAI's dialect. Exit code 0 only if every check passed; each one that
failed is printed.
"""

import anthropic
from promises import BASE_URL, MESSAGES, figures, keep, stops

client = anthropic.Anthropic(base_url=BASE_URL, api_key="unused", max_retries=0)
messages = client.messages
LONG = "tokens=2000&rate=20"
WEATHER = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def asked(options, **more):
    return {"model": f"demo?{options}", "max_tokens": 4096, "messages": MESSAGES, **more}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def refused(call, kind, status):
    try:
        call()
    except anthropic.APIStatusError as error:
        assert type(error) is kind, f"{error!r} is not {kind}"
        assert error.status_code == status, error.status_code
        assert error.request_id.startswith("req_"), error.request_id
        return error
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
    refused(lambda: messages.create(**{**asked(""), "model": "no-such-model"}), anthropic.NotFoundError, 404)
    for status, kind, expected in [
        (400, anthropic.BadRequestError, 400),
        (422, anthropic.UnprocessableEntityError, 422),
        (429, anthropic.RateLimitError, 429),
        (500, anthropic.InternalServerError, 502),
    ]:
        for stream in (False, True):
            refused(lambda: messages.create(**asked(f"status={status}"), stream=stream), kind, expected)


def failure_in_the_stream():
    """failure in the stream is an error"""
    try:
        list(messages.create(**asked("fail_at=5&rate=max"), stream=True))
    except anthropic.APIStatusError as error:
        assert error.type == "api_error", error.type
        return
    raise AssertionError("it ended as if it were whole")


def leaving():
    """leaving stops the model, streaming or not"""

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


keep([stream_and_whole, tools, thinking, refusals, failure_in_the_stream, leaving, counting], {})
