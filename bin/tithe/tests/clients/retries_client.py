"""OpenAI's and Anthropic's Python SDKs, which send a request again when they have waited too long: it is charged once."""

import json
import os
import time
import urllib.request
import uuid

import anthropic
import openai

URL, KEY = os.environ["TITHE_URL"], os.environ["TITHE_KEY"]
PATIENCE_SECONDS = 1.5
settings = {"api_key": KEY, "timeout": PATIENCE_SECONDS, "max_retries": 8}
OPENAI = openai.OpenAI(base_url=URL + "/v1", **settings)
ANTHROPIC = anthropic.Anthropic(base_url=URL, **settings)
# The answer takes longer than the client waits.
QUESTION = [{"role": "user", "content": "[sim:slow=40] Why is the sky blue?"}]


def spent():
    credits = urllib.request.Request(URL + "/v1/credits", headers={"Authorization": f"Bearer {KEY}"})
    return json.load(urllib.request.urlopen(credits))["data"]["total_usage_msats"]


asked = {
    "chat": lambda **key: OPENAI.chat.completions.create(model="sim-large", messages=QUESTION, **key),
    "responses": lambda **key: OPENAI.responses.create(model="sim-large", input=QUESTION, **key),
    "messages": lambda **key: ANTHROPIC.messages.create(model="sim-large", max_tokens=500, messages=QUESTION, **key),
}
for name, ask in asked.items():
    # By the SDK's own count of its tries, and by a key of the customer.
    for key in ({}, {"extra_headers": {"Idempotency-Key": str(uuid.uuid4())}}):
        before, started = spent(), time.monotonic()
        answer = ask(**key)
        assert time.monotonic() - started > PATIENCE_SECONDS, f"{name}: the first try was answered"
        assert spent() - before == answer.usage.cost_msats, f"{name}, {key}: {spent() - before} msat, {answer.usage}"
print("what is sent again is served")
