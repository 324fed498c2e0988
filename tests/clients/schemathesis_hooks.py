"""What no document can say: which prompts there are. A request that names one well-formed names one that is there."""

import re

import schemathesis

# As the document's pattern has it.
REFERENCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}(@[0-9a-f]{12})?")


@schemathesis.hook
def map_body(context, body):
    prompt = body.get("prompt") if isinstance(body, dict) else None
    if isinstance(prompt, dict) and isinstance(prompt.get("id"), str) and REFERENCE.fullmatch(prompt["id"]):
        kept = {name: value for name, value in prompt.items() if not (name == "variables" and isinstance(value, dict))}
        if isinstance(kept.get("version"), str) and re.fullmatch(r"[0-9a-f]{12}", kept["version"]):
            del kept["version"]
        return {**body, "prompt": {**kept, "id": "assistant"}}
    return body
