"""OpenAI's Python SDK, unchanged, as a customer."""

import json
import os

import openai
from pydantic import BaseModel

BASE, KEY, POOR = os.environ["TITHE_URL"] + "/v1", os.environ["TITHE_KEY"], os.environ["TITHE_POOR_KEY"]
MODEL = "sim-large"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)


def user(text):
    return [{"role": "user", "content": text}]


# A chat, whole and as a stream, says and uses the same.
whole = client.chat.completions.create(model=MODEL, messages=user("Why is the sky blue?"))
assert whole.choices[0].message.content.startswith("You asked: Why is the sky blue?"), whole
assert whole.choices[0].finish_reason == "stop"
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
assert whole.usage.cost_msats > 0, whole.usage

stream = client.chat.completions.create(
    model=MODEL, messages=user("Why is the sky blue?"), stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == whole.choices[0].message.content
assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
assert len({chunk.id for chunk in chunks}) == 1

# Without being asked for, no chunk has usage.
plain = list(client.chat.completions.create(model=MODEL, messages=user("hi"), stream=True))
assert all("usage" not in chunk.model_fields_set for chunk in plain), plain[-1]
assert plain[-1].choices[0].finish_reason == "stop"

# The answer ends at the limit.
short = client.chat.completions.create(model=MODEL, messages=user("hi"), max_completion_tokens=5)
assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 5, short

# A whole round trip of functions.
weather = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
messages = user("What is the weather? [sim:call=weather]")
first = client.chat.completions.create(model=MODEL, messages=messages, tools=[weather])
call = first.choices[0].message.tool_calls[0]
assert first.choices[0].finish_reason == "tool_calls" and call.function.name == "weather"
assert json.loads(call.function.arguments) == {"city": "simulated"}
messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "It rains."}]
second = client.chat.completions.create(model=MODEL, messages=messages, tools=[weather])
assert "The functions returned: It rains." in second.choices[0].message.content, second
with client.chat.completions.stream(model=MODEL, messages=user("[sim:call=weather]"), tools=[weather]) as events:
    final = events.get_final_completion()
assert final.choices[0].message.tool_calls[0].function.name == "weather"

# Images are seen; remote ones are refused.
image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
seen = client.chat.completions.create(
    model=MODEL, messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
)
assert "You sent an image." in seen.choices[0].message.content


def refused(error, **request):
    try:
        client.chat.completions.create(**{"model": MODEL, "messages": user("hi"), **request})
    except error as failure:
        return failure
    raise AssertionError(f"{request} is not refused")


remote = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
wrong = refused(openai.BadRequestError, messages=[{"role": "user", "content": [remote]}])
assert wrong.param == "messages[0].content[0].image_url.url" or "image_url" in wrong.param, wrong.body
assert refused(openai.BadRequestError, n=2).param == "n"
assert refused(openai.NotFoundError, model="gpt-nothing").code == "model_not_found"
assert refused(openai.BadRequestError, tools=[{"type": "web_search"}]).param.startswith("tools[0]")
long = refused(openai.BadRequestError, messages=user("word " * 200_000))
assert long.code == "context_length_exceeded", long.body


# Structured output.
class Event(BaseModel):
    name: str
    days: int


parsed = client.chat.completions.parse(model=MODEL, messages=user("Make an event."), response_format=Event)
assert parsed.choices[0].message.parsed == Event(name="simulated", days=1), parsed

# The models.
assert MODEL in [model.id for model in client.models.list()]
assert client.models.retrieve(MODEL).object == "model"

# Nothing left: an error that agents know, and that is not tried again.
poor = openai.OpenAI(base_url=BASE, api_key=POOR)
try:
    poor.chat.completions.create(model=MODEL, messages=user("Why?"), stream=True)
    raise AssertionError("work for nothing")
except openai.APIStatusError as failure:
    assert failure.status_code == 402 and failure.code == "insufficient_quota", failure.body
    assert failure.body["metadata"]["reason"] in ("balance", "no_payment"), failure.body
    assert "max_tokens" not in failure.message and "context" not in failure.message
try:
    openai.OpenAI(base_url=BASE, api_key="sk-wrong").models.list()
    openai.OpenAI(base_url=BASE, api_key="sk-wrong").chat.completions.create(model=MODEL, messages=user("hi"))
    raise AssertionError("a wrong key is taken")
except openai.AuthenticationError:
    pass

# A failure of the backend, before and in the middle of an answer.
try:
    client.chat.completions.create(model=MODEL, messages=user("[sim:fail]"))
    raise AssertionError("no failure")
except openai.InternalServerError as failure:
    assert failure.status_code == 502, failure
try:
    list(client.chat.completions.create(model=MODEL, messages=user("[sim:die]"), stream=True))
    raise AssertionError("no failure")
except openai.APIError as failure:
    assert failure.message, failure

# Responses: whole, streamed, with functions.
response = client.responses.create(model=MODEL, input="Why is the sky blue?", instructions="Be brief.")
assert response.output_text.startswith("You asked: Why is the sky blue?") and response.status == "completed"
assert response.usage.total_tokens > 0 and response.store is False
events = list(client.responses.create(model=MODEL, input="hi", stream=True))
assert events[0].type == "response.created" and events[-1].type == "response.completed"
assert [event.sequence_number for event in events] == list(range(len(events)))
tool = {"type": "function", "name": "weather", "parameters": weather["function"]["parameters"]}
asked = [{"role": "user", "content": "[sim:call=weather]"}]
called = client.responses.create(model=MODEL, input=asked, tools=[tool])
[function] = [item for item in called.output if item.type == "function_call"]
asked += [function, {"type": "function_call_output", "call_id": function.call_id, "output": "It rains."}]
assert "It rains." in client.responses.create(model=MODEL, input=asked, tools=[tool]).output_text
try:
    client.responses.create(model=MODEL, input="hi", previous_response_id="resp_1")
    raise AssertionError("there is no state")
except openai.BadRequestError as failure:
    assert failure.param == "previous_response_id", failure.body

# Embeddings: the SDK asks for base64 and decodes it.
texts = ["Why is the sky blue?", "Why is the sky so blue?", "A recipe for bread"]
embedded = client.embeddings.create(model="sim-embedding", input=texts)
assert [row.index for row in embedded.data] == [0, 1, 2] and embedded.usage.prompt_tokens > 0, embedded.usage
sky, same, bread = (row.embedding for row in embedded.data)


def alike(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


assert abs(alike(sky, sky) - 1) < 1e-5 and alike(sky, same) > alike(sky, bread)
floats = client.embeddings.create(model="sim-embedding", input=texts[0], encoding_format="float", dimensions=64)
assert len(floats.data[0].embedding) == 64 and floats.usage.cost_msats >= 0
raw = client.embeddings.with_raw_response.create(model="sim-embedding", input=[[5, 6], [7]])
assert raw.parse().usage.prompt_tokens == 3 and raw.headers["x-tithe-cost-msats"]
for wrong, param in [({"model": MODEL}, "model"), ({"input": []}, "input"), ({"input": [7] * 9000}, "input[0]")]:
    try:
        client.embeddings.create(**{"model": "sim-embedding", "input": "hi", **wrong})
        raise AssertionError(wrong)
    except openai.BadRequestError as failure:
        assert failure.param == param, failure.body
try:
    client.chat.completions.create(model="sim-embedding", messages=user("hi"))
    raise AssertionError("an embedding model chats")
except openai.BadRequestError as failure:
    assert failure.param == "model", failure.body
try:
    poor.embeddings.create(model="sim-embedding", input="hi")
    raise AssertionError("work for nothing")
except openai.APIStatusError as failure:
    assert failure.status_code == 402, failure.body

print("openai", openai.__version__, "is served")
