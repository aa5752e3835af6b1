"""LiteLLM, unchanged, as a customer."""

import os

import litellm

BASE, KEY, POOR = os.environ["TITHE_URL"] + "/v1", os.environ["TITHE_KEY"], os.environ["TITHE_POOR_KEY"]
common = {"model": "openai/sim-large", "api_base": BASE, "api_key": KEY, "num_retries": 0}
question = [{"role": "user", "content": "Why is the sky blue?"}]

whole = litellm.completion(messages=question, **common)
assert whole.choices[0].message.content.startswith("You asked: Why is the sky blue?")
chunks = list(litellm.completion(messages=question, stream=True, stream_options={"include_usage": True}, **common))
rebuilt = litellm.stream_chunk_builder(chunks, messages=question)
assert rebuilt.choices[0].message.content == whole.choices[0].message.content
assert rebuilt.usage.completion_tokens == whole.usage.completion_tokens
try:
    litellm.completion(messages=question, **{**common, "api_key": POOR})
    raise AssertionError("work for nothing")
except litellm.exceptions.APIError as failure:
    assert failure.status_code == 402 or "insufficient_quota" in str(failure), failure
except Exception as failure:
    assert "402" in str(failure) or "session has" in str(failure), failure
anthropic = litellm.completion(
    model="anthropic/sim-large", api_base=os.environ["TITHE_URL"], api_key=KEY, messages=question, max_tokens=500
)
assert anthropic.choices[0].message.content == whole.choices[0].message.content
embedded = litellm.embedding(model="openai/sim-embedding", api_base=BASE, api_key=KEY, input=["hello world", "hello"])
assert [len(row["embedding"]) for row in embedded.data] == [256, 256] and embedded.usage.prompt_tokens == 3
print("litellm is served")
