"""field.py BASE_URL: reads each input of tests/it/clients/field with OpenAI's SDK, as its examples do.

The inputs' names come on standard input, one on a line; a line of JSON goes out for each."""
import asyncio
import json
import sys

from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=7)
at_once = asyncio.Semaphore(16)


def text(value):
    """Lone halves of a surrogate pair become U+FFFD, as they do where the text is written out."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def figures(usage):
    if usage is None or not isinstance(usage.prompt_tokens, int) or not isinstance(usage.completion_tokens, int):
        return None
    return [usage.prompt_tokens, usage.completion_tokens, False]


async def stream(model, read):
    calls = {}
    async for chunk in await client.chat.completions.create(model=model, messages=HELLO, stream=True):
        if chunk.usage:
            read["usage"] = figures(chunk.usage)
        for choice in chunk.choices or []:
            if choice.index:
                continue
            read["finish"] = choice.finish_reason or read["finish"]
            delta = choice.delta
            if delta is None:
                continue
            if delta.content:
                read["text"] += delta.content
            read["reasoning"] += getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
            for fragment in delta.tool_calls or []:
                call = calls.setdefault(fragment.index, ["", "", ""])
                call[0] = call[0] or fragment.id or ""
                call[1] = call[1] or fragment.function.name or ""
                if fragment.function.arguments:
                    call[2] += fragment.function.arguments
    read["calls"] = list(calls.values())


async def whole(model, read):
    completion = await client.chat.completions.create(model=model, messages=HELLO)
    read["usage"] = figures(completion.usage)
    choice = completion.choices[0]
    read["finish"] = choice.finish_reason
    read["text"] += choice.message.content or ""
    read["reasoning"] += getattr(choice.message, "reasoning_content", None) or ""
    for call in choice.message.tool_calls or []:
        read["calls"].append([call.id or "", call.function.name or "", "" + (call.function.arguments or "")])


HELLO = [{"role": "user", "content": "Hello"}]


async def reading(way, model):
    read = {"text": "", "reasoning": "", "calls": [], "finish": None, "usage": None, "failure": None}
    try:
        async with at_once:
            await way(model, read)
    except Exception as error:
        read["failure"] = type(error).__name__
    read["text"], read["reasoning"] = text(read["text"]), text(read["reasoning"])
    read["calls"] = [[text(member) if isinstance(member, str) else json.dumps(member) for member in call] for call in read["calls"]]
    if not isinstance(read["finish"], str):
        read["finish"] = None
    return read


async def tell(model):
    streamed, whole_answer = await asyncio.gather(reading(stream, model), reading(whole, model))
    print(json.dumps({"name": model, "stream": streamed, "whole": whole_answer}))


async def main():
    await asyncio.gather(*(tell(line.strip()) for line in sys.stdin))


asyncio.run(main())
