"""Starts, follows, resumes and stops generations with httpx-sse, in the native format.

    python httpx_sse_resume.py BASE_URL

The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
"""

import json
import uuid

from httpx_sse import connect_sse
from promises import keep, service, stops

ENDS = ("done", "cancelled", "failed")


def started(options, **headers):
    body = {"model": f"demo?{options}", "input": "Hello"}
    return connect_sse(service, "POST", "/v1/generations", json=body, headers=headers)


def text_of(events):
    return "".join(json.loads(event.data)["text"] for event in events if event.event == "delta")


def resumed_after_each_event():
    """request that is repeated after each event gets each event once"""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with started("tokens=12&rate=max", **key) as source:
        whole = list(source.iter_sse())
    seen, last = [], key
    while not seen or seen[-1].event not in ENDS:
        with started("tokens=12&rate=max", **last) as source:
            seen.append(next(source.iter_sse()))
        last = {"Last-Event-ID": seen[-1].id}
    assert [event.id for event in seen] == [event.id for event in whole]
    assert text_of(seen) == text_of(whole) != ""


def stopped():
    """stop ends the model at once, and the stream ends with cancelled"""

    def leave():
        with started("tokens=2000&rate=20") as source:
            events = source.iter_sse()
            generation = json.loads(next(events).data)["generation"]
            assert service.post(f"/v1/generations/{generation}/cancel").status_code == 200
            ending = list(events)[-1]
            assert (ending.event, json.loads(ending.data)["reason"]) == ("cancelled", "client_request")

    stops(leave)


def refused():
    """refusal and failure are the event failed"""
    for options, code in [("status=429", "upstream_rate_limited"), ("fail_at=3&rate=max", "upstream_error")]:
        with started(options) as source:
            ending = list(source.iter_sse())[-1]
        assert (ending.event, json.loads(ending.data)["error"]["code"]) == ("failed", code), ending


keep([resumed_after_each_event, stopped, refused], {})
