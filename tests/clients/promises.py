"""What the clients in Python have in common: BASE_URL [THROUGH] on the command line, the service's figures,
and the promises that are kept or not.

THROUGH names a proxy between the service and the model.
"""

import sys
import time
import traceback

import httpx

if len(sys.argv) < 2:
    sys.exit(f"usage: python {sys.argv[0]} BASE_URL [THROUGH]")
BASE_URL = sys.argv[1]
THROUGH = sys.argv[2] if len(sys.argv) > 2 else None
# Every service serves `demo` itself: what a proxy serves goes by another name.
MODEL = f"{THROUGH}/demo" if THROUGH else "demo"
MESSAGES = [{"role": "user", "content": "Tell me about Tokenrill, Grüße 🌊."}]

service = httpx.Client(base_url=BASE_URL, timeout=30, trust_env=False)


def asked(options, **more):
    """A request's body: the embedded model with these options."""
    return {"model": f"{MODEL}?{options}", "messages": MESSAGES, **more}


def joined(chunks, field, choice=0):
    """What the chunks say in one field."""
    deltas = [one.delta for chunk in chunks for one in chunk.choices if one.index == choice]
    return "".join(getattr(delta, field, None) or "" for delta in deltas)


def figures():
    lines = service.get("/metrics").text.splitlines()
    # Summed over the upstreams and models that have a series each.
    figure = lambda start: sum(float(line.split()[-1]) for line in lines if line.startswith(start))
    return figure("tokenrill_generations_live "), figure('tokenrill_generations_total{outcome="cancelled"')


def becomes(expected):
    deadline = time.monotonic() + 30
    while (seen := figures()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert seen == expected, f"(live, cancelled) is {seen}, not {expected}"


def stops(leave):
    """Runs what leaves an answer before its end: the generation is then stopped, and no other."""
    live, cancelled = figures()
    assert live == 0, "nothing runs before"
    leave()
    becomes((0, cancelled + 1))


def keep(promises, breaks):
    """Ends the program: with 0 only if every promise held. What the proxy breaks is told and left out."""
    broken = 0
    for holds in promises:
        promise = holds.__doc__
        if reason := breaks.get(THROUGH, {}).get(promise):
            print(f"skip {promise}: {reason}")
            continue
        try:
            holds()
            print(f"ok   {promise}", flush=True)
        except Exception:
            broken += 1
            print(f"FAIL {promise}\n{traceback.format_exc()}", flush=True)
    sys.exit(1 if broken else 0)
