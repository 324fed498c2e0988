"""Uses the service through LangChain's integration of OpenAI as any program would: another base URL.

    python langchain_openai_client.py BASE_URL

The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
"""

import asyncio

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from promises import BASE_URL, figures, keep, stops
from pydantic import BaseModel

API = f"{BASE_URL}/v1"
LONG = "tokens=2000&rate=20"
QUESTION = "Tell me about Tokenrill, Grüße 🌊."


def chat(options, **more):
    return ChatOpenAI(base_url=API, api_key="unused", model=f"demo?{options}", max_retries=0, **more)


class weather(BaseModel):
    """The weather in a city."""

    city: str
    unit: str


def invoked_and_streamed():
    """invoke and stream return the same text, with usage"""
    model = chat("tokens=80&rate=max")
    whole = model.invoke(QUESTION)
    pieces = list(model.stream(QUESTION, stream_usage=True))
    assert len(pieces) > 20, "token by token"
    assert "".join(piece.text for piece in pieces) == whole.text
    assert whole.response_metadata["finish_reason"] == "stop", whole.response_metadata
    used = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
    assert used[-1]["output_tokens"] == whole.usage_metadata["output_tokens"] > 0, used


def tools():
    """tool is called, and its result continues the conversation"""
    model = chat("tool=weather&rate=max&tokens=20").bind_tools([weather])
    called = model.invoke(QUESTION)
    [call] = called.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Zürich", "unit": "celsius"}), call
    merged = None
    for piece in model.stream(QUESTION):
        merged = piece if merged is None else merged + piece
    assert merged.tool_calls[0]["args"] == call["args"], merged.tool_calls
    told = model.invoke([HumanMessage(QUESTION), called, ToolMessage("Rain.", tool_call_id=call["id"])])
    assert told.text and not told.tool_calls, told


def structured():
    """structured output is an object of the class"""
    model = chat("tool=weather&rate=max").with_structured_output(weather, method="function_calling")
    assert model.invoke(QUESTION) == weather(city="Zürich", unit="celsius")


def embedded():
    """embeddings of texts are vectors of length 1, the same for the same text"""
    # LangChain otherwise counts tokens with a vocabulary that it downloads.
    model = OpenAIEmbeddings(base_url=API, api_key="unused", model="demo", check_embedding_ctx_length=False)
    one, other, again = model.embed_documents(["a red car", "something else", "a red car"])
    assert one == again != other and len(one) == 256
    assert abs(sum(number * number for number in one) - 1) < 1e-5
    assert model.embed_query("a red car") == one


def errors():
    """refusal and failure in the stream are the SDK's errors"""
    for options, kind in [
        ("status=400", openai.BadRequestError),
        ("status=429&retry_after=1", openai.RateLimitError),
        ("status=503", openai.InternalServerError),
    ]:
        try:
            chat(options).invoke(QUESTION)
        except openai.APIStatusError as error:
            assert isinstance(error, kind), repr(error)
        else:
            raise AssertionError(options)
    try:
        for _ in chat("fail_at=5&rate=max").stream(QUESTION):
            pass
    except openai.APIError as error:
        assert error.code == "upstream_error", error.code
    else:
        raise AssertionError("the stream did not fail")


def aborted():
    """break, close and cancellation stop the model"""

    async def leave_stream():
        async for _ in chat(LONG).astream(QUESTION):
            break

    async def leave_call():
        call = asyncio.ensure_future(chat(LONG).ainvoke(QUESTION))
        while figures()[0] == 0:
            await asyncio.sleep(0.02)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    def leave_sync():
        stream = chat(LONG).stream(QUESTION)
        next(stream)
        stream.close()

    stops(lambda: asyncio.run(leave_stream()))
    stops(lambda: asyncio.run(leave_call()))
    stops(leave_sync)


keep([invoked_and_streamed, tools, structured, embedded, errors, aborted], {})
