"""Uses the Responses API through OpenAI's SDK for Python as any program would: another base URL, nothing else.

    python responses_sdk.py BASE_URL

The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
"""

import openai
from promises import BASE_URL, figures, keep, stops

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="unused", max_retries=0)
responses = client.responses
INPUT = "Tell me about Tokenrill, Grüße 🌊."
LONG = "tokens=2000&rate=20"
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": None,
}


def asked(options, **more):
    return {"model": f"demo?{options}", "input": INPUT, **more}


def refused(call, kind, code):
    try:
        call()
    except openai.APIStatusError as error:
        assert type(error) is kind, f"{error!r} is not {kind}"
        assert error.code == code, error.code
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
    refused(lambda: responses.retrieve(begun.id), openai.NotFoundError, "generation_not_found")


def refusals():
    """each refusal has its class"""
    refused(lambda: responses.create(model="none/such", input="x"), openai.NotFoundError, "model_not_found")
    extra = {"conversation": "c"}
    refused(lambda: responses.create(**asked("tokens=5"), extra_body=extra), openai.BadRequestError, "unsupported_parameter")
    refused(lambda: responses.create(**asked("status=429")), openai.RateLimitError, "upstream_rate_limited")
    last = list(responses.create(**asked("tokens=20&fail_at=5&rate=max"), stream=True))[-1]
    assert (last.type, last.response.error.code) == ("response.failed", "server_error")


def leaving():
    """leaving stops the model, streaming or not"""

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


keep([stream_and_whole, reasoning, tools, resumed, background, refusals, leaving], {})
