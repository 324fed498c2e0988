"""Follows generations with httpx-sse in both formats, whichever started the generation: live, replayed and resumed.

    python event_streams.py BASE_URL [THROUGH]

Exit code 0 only if every check passed; each one that failed is printed.
"""

import json

import openai
from httpx_sse import connect_sse
from promises import BASE_URL, asked, joined, keep, service

completions = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="unused", max_retries=0).chat.completions


def events(path, **request):
    with connect_sse(service, request.pop("method", "GET"), path, **request) as source:
        assert source.response.status_code == 200, source.response.status_code
        return list(source.iter_sse())


def followed_as_chunks():
    """generation of chat completions is followed as the same chunks with ids, and resumed after one of them"""
    raw = completions.with_raw_response.create(**asked("tokens=30&rate=100"), stream=True)
    path = f"/v1/generations/{raw.headers['tokenrill-generation']}/events?format=openai"
    live = events(path)
    *chunks, done = [event.data for event in live]
    assert [json.loads(chunk) for chunk in chunks] == [chunk.to_dict() for chunk in raw.parse()]
    assert (done, live[0].event) == ("[DONE]", "message")
    shape = lambda event: (event.event, event.data, event.id, event.retry)
    assert [*map(shape, events(path))] == [*map(shape, live)], "replayed as it was live"
    # One entry of the log may be several blocks: the last of them has the id, and can be resumed from.
    at = next(at for at, event in enumerate(live) if at > 9 and event.id != live[at - 1].id)
    resumed = events(path, headers={"last-event-id": live[at].id})
    assert [event.data for event in resumed] == [event.data for event in live[at + 1 :]]
    assert service.get(path, headers={"last-event-id": live[-1].id}).status_code == 204


def followed_natively():
    """each format follows a generation that was started in the other one"""
    body = asked("tokens=30&rate=max&reasoning=5")
    raw = completions.with_raw_response.create(**body, stream=True)
    chunks = list(raw.parse())
    native = events(f"/v1/generations/{raw.headers['tokenrill-generation']}/events")
    assert [native[0].event, native[-1].event] == ["start", "done"]
    text = lambda events, name: "".join(event.json()["text"] for event in events if event.event == name)
    assert text(native, "delta") == joined(chunks, "content")
    assert text(native, "reasoning") == joined(chunks, "reasoning_content")

    began = events("/v1/generations", method="POST", json=body)
    path = f"/v1/generations/{began[0].json()['generation']}/events?format=openai"
    *chunks_later, done = [event.data for event in events(path)]
    contents = [json.loads(chunk)["choices"][0]["delta"].get("content") or "" for chunk in chunks_later]
    assert done == "[DONE]" and "".join(contents) == text(began, "delta") == joined(chunks, "content")


keep([followed_as_chunks, followed_natively], {})
