"""What no document can say: which prompts and responses there are. A request that names one well-formed names one that is
there, or none."""

import re

import schemathesis

# As the document's pattern has it.
REFERENCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}(@[0-9a-f]{12})?")


def with_known_prompt(body):
    prompt = body.get("prompt")
    if isinstance(prompt, dict) and isinstance(prompt.get("id"), str) and REFERENCE.fullmatch(prompt["id"]):
        kept = {name: value for name, value in prompt.items() if not (name == "variables" and isinstance(value, dict))}
        if isinstance(kept.get("version"), str) and re.fullmatch(r"[0-9a-f]{12}", kept["version"]):
            del kept["version"]
        return {**body, "prompt": {**kept, "id": "assistant"}}
    return body


def as_new_response(body):
    """A response that continues none, has input, and is whole in every other case: only its body has the id for links."""
    body = {name: value for name, value in body.items() if not (name == "previous_response_id" and isinstance(value, str))}
    body.setdefault("input", "Hello")
    if body.get("background") is True and body.get("store") is False:
        del body["store"]
    if isinstance(body.get("stream"), bool) and len(repr(body)) % 2:
        body["stream"] = False
    return body


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    if context.operation.path == "/v1/messages":
        # Optional in the schema, which is that of a count too.
        return {"max_tokens": 10, **body}
    if context.operation.path.startswith("/v1/responses"):
        return as_new_response(body)
    return with_known_prompt(body)


# The ids of responses that were created, for the operation that retrieves one.
CREATED = []


@schemathesis.hook
def after_call(context, case, response):
    if case.operation.path == "/v1/responses" and response.status_code == 200:
        if response.headers.get("content-type", [""])[0] == "application/json":
            CREATED.append(response.json()["id"])


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    operation = context.operation
    if operation.path == "/v1/responses/{id}" and operation.method.lower() == "get" and CREATED:
        return {**path_parameters, "id": CREATED[-1]}
    return path_parameters
