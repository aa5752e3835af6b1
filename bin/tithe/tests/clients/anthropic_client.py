"""Anthropic's Python SDK, unchanged, as a customer."""

import os

import anthropic

BASE, KEY, POOR = os.environ["TITHE_URL"], os.environ["TITHE_KEY"], os.environ["TITHE_POOR_KEY"]
MODEL = "sim-large"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

client = anthropic.Anthropic(base_url=BASE, api_key=KEY, max_retries=0)


def user(text):
    return [{"role": "user", "content": text}]


whole = client.messages.create(model=MODEL, max_tokens=500, messages=user("Why is the sky blue?"), system="Be kind.")
assert whole.content[0].text.startswith("You asked: Why is the sky blue?") and whole.stop_reason == "end_turn"
assert whole.usage.input_tokens > 0 and whole.usage.output_tokens > 0

with client.messages.stream(model=MODEL, max_tokens=500, messages=user("Why is the sky blue?")) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == whole.content[0].text
assert final.usage.output_tokens == whole.usage.output_tokens, final.usage

short = client.messages.create(model=MODEL, max_tokens=5, messages=user("hi"))
assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 5

weather = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
messages = user("[sim:call=weather]")
first = client.messages.create(model=MODEL, max_tokens=500, messages=messages, tools=[weather])
[call] = [block for block in first.content if block.type == "tool_use"]
assert first.stop_reason == "tool_use" and call.input == {"city": "simulated"}
result = {"type": "tool_result", "tool_use_id": call.id, "content": "It rains."}
messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
second = client.messages.create(model=MODEL, max_tokens=500, messages=messages, tools=[weather])
assert "It rains." in second.content[0].text
with client.messages.stream(model=MODEL, max_tokens=500, messages=user("[sim:call=weather]"), tools=[weather]) as stream:
    assert stream.get_final_message().content[-1].input == {"city": "simulated"}

image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
seen = client.messages.create(model=MODEL, max_tokens=500, messages=[{"role": "user", "content": [image]}])
assert "You sent an image." in seen.content[0].text

assert client.messages.count_tokens(model=MODEL, messages=user("Why is the sky blue?")).input_tokens > 3
assert MODEL in [model.id for model in client.models.list()]
assert client.models.retrieve(MODEL).display_name == MODEL


def refused(error, key=KEY, **request):
    asking = anthropic.Anthropic(base_url=BASE, api_key=key, max_retries=0)
    try:
        asking.messages.create(**{"model": MODEL, "max_tokens": 50, "messages": user("hi"), **request})
    except error as failure:
        return failure
    raise AssertionError(f"{request} is not refused")


assert refused(anthropic.NotFoundError, model="claude-nothing").body["error"]["type"] == "not_found_error"
url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
refused(anthropic.BadRequestError, messages=[{"role": "user", "content": [url]}])
long = refused(anthropic.BadRequestError, messages=user("word " * 200_000))
assert "prompt is too long" in long.message, long.body
refused(anthropic.AuthenticationError, key="sk-ant-wrong")
poor = refused(anthropic.APIStatusError, key=POOR, max_tokens=4000)
assert poor.status_code == 402 and poor.body["error"]["type"] == "billing_error", poor.body
assert poor.request_id
try:
    with client.messages.stream(model=MODEL, max_tokens=500, messages=user("[sim:die]")) as stream:
        stream.get_final_message()
    raise AssertionError("no failure")
except anthropic.APIError:
    pass

print("anthropic", anthropic.__version__, "is served")
