"""Shared by the scripts in Python: BASE_URL [THROUGH] on the command line, metrics of the service, and the runner of the
checks.

THROUGH names a proxy between the service and the model.
"""

import os
import sys
import threading
import time
import traceback
import uuid

import httpx

if len(sys.argv) < 2:
    sys.exit(f"usage: python {sys.argv[0]} BASE_URL [THROUGH]")
BASE_URL = sys.argv[1]
THROUGH = sys.argv[2] if len(sys.argv) > 2 else None
# Every service serves `demo` itself, so models behind a proxy have a prefix.
MODEL = f"{THROUGH}/demo" if THROUGH else "demo"
MESSAGES = [{"role": "user", "content": "Tell me about Tokenrill, Grüße 🌊."}]
LONG = "tokens=2000&rate=20"
# An answer that exceeds `generation.max_bytes` by its log probabilities.
TOO_LARGE = "tokens=4000&rate=max"
# A text that exceeds `server.max_body`.
LARGE_TEXT = "x" * (17 << 20)
# A service with authentication, and a key of it that has only the scope `follow`: for the statuses 401 and 403.
GUARDED_URL = os.environ.get("GUARDED_URL")
GUARDED_KEY = os.environ.get("GUARDED_KEY")

service = httpx.Client(base_url=BASE_URL, timeout=30, trust_env=False)


def asked(options, **more):
    """Returns a request body: the embedded model with these options."""
    return {"model": f"{MODEL}?{options}", "messages": MESSAGES, **more}


def joined(chunks, field, choice=0):
    """Returns the text of one field of the chunks."""
    deltas = [one.delta for chunk in chunks for one in chunk.choices if one.index == choice]
    return "".join(getattr(delta, field, None) or "" for delta in deltas)


def figures():
    lines = service.get("/metrics").text.splitlines()
    # The sum of the series of all upstreams and models.
    figure = lambda start: sum(float(line.split()[-1]) for line in lines if line.startswith(start))
    return figure("tokenrill_generations_live "), figure('tokenrill_generations_total{outcome="cancelled"')


def becomes(expected):
    deadline = time.monotonic() + 30
    while (seen := figures()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert seen == expected, f"(live, cancelled) is {seen}, not {expected}"


def stops(leave):
    """Runs a client that leaves an answer before its end: the generation is then stopped, and no other."""
    live, cancelled = figures()
    assert live == 0, "no generation is live before"
    leave()
    becomes((0, cancelled + 1))


def stopped(call):
    """Starts a call and stops its generation by its id.

    The call sends the channel that it is given: the id of a whole answer is known only from the channel's events before
    the response.
    """
    channel = f"room-{uuid.uuid4()}"

    def stop():
        path, accept = f"/v1/channels/{channel}/events?history=9", {"accept": "application/json"}
        while not (events := service.get(path, headers=accept).json()["events"]):
            time.sleep(0.02)
        service.post(f"/v1/generations/{events[0]['data']['generation']}/cancel").raise_for_status()

    stopping = threading.Thread(target=stop, daemon=True)
    stopping.start()
    try:
        return call(channel)
    finally:
        stopping.join(30)


def cut():
    """Closes the connections of all streams, each in the middle of its response, as an operator does."""
    connections = service.get("/v1/connections").json()["data"]
    streams = [connection["id"] for connection in connections if connection["kind"] == "event_stream"]
    assert streams, connections
    for identity in streams:
        service.delete(f"/v1/connections/{identity}").raise_for_status()


def cut_after(stream, count):
    """Reads a stream whose connection is cut after this many events. Ends with the error of the SDK."""
    for number, _ in enumerate(stream, 1):
        if number == count:
            cut()


def keep(checks, breaks):
    """Ends the process: with 0 only if every check passed. Checks that the proxy breaks are skipped, with the reason."""
    failed = 0
    for check in checks:
        name = check.__doc__
        if reason := breaks.get(THROUGH, {}).get(name):
            print(f"skip {name}: {reason}")
            continue
        try:
            check()
            print(f"ok   {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
    sys.exit(1 if failed else 0)
