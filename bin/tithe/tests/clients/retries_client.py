"""OpenAI's and Anthropic's Python SDKs, which send a request again when they have waited too long: with a key, it is charged once."""

import os
import time
import uuid

import anthropic
import httpx
import openai

URL, KEY = os.environ["TITHE_URL"], os.environ["TITHE_KEY"]
tries = []
http = {"http_client": httpx.Client(event_hooks={"request": [tries.append]}), "timeout": 1.5, "max_retries": 8}
OPENAI = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, **http)
ANTHROPIC = anthropic.Anthropic(base_url=URL, api_key=KEY, **http)
# An answer takes longer than the client waits.
QUESTION = [{"role": "user", "content": "[sim:slow=40] Why is the sky blue?"}]


def spent():
    credits = httpx.get(URL + "/v1/credits", headers={"authorization": f"Bearer {KEY}"})
    return credits.json()["data"]["total_usage_msats"]


asked = {
    "chat": lambda **key: OPENAI.chat.completions.create(model="sim-large", messages=QUESTION, **key),
    "responses": lambda **key: OPENAI.responses.create(model="sim-large", input=QUESTION, **key),
    "messages": lambda **key: ANTHROPIC.messages.create(model="sim-large", max_tokens=500, messages=QUESTION, **key),
}
for name, ask in asked.items():
    before = spent()
    tries.clear()
    started = time.monotonic()
    answer = ask(extra_headers={"Idempotency-Key": str(uuid.uuid4())})
    assert len(tries) > 1, f"{name}: one try in {time.monotonic() - started} seconds"
    assert spent() - before == answer.usage.cost_msats, f"{name}: {spent() - before} msat for {answer.usage}"
print("a request that is sent again is served")
