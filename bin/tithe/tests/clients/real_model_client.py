"""OpenAI's Python SDK as a customer of a server whose backend is a real llama-server with a tiny model of random weights."""

import os

import openai

client = openai.OpenAI(base_url=os.environ["TITHE_URL"] + "/v1", api_key=os.environ["TITHE_KEY"], max_retries=0)
request = {"model": "tiny", "messages": [{"role": "user", "content": "Tell me of the first people."}], "max_tokens": 40}

whole = client.chat.completions.create(**request)
assert whole.model == "tiny" and 0 < whole.usage.completion_tokens <= 40, whole
assert whole.usage.prompt_tokens > 0 and whole.usage.cost_msats > 0, whole
assert whole.choices[0].finish_reason in ("stop", "length"), whole

chunks = list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request))
assert chunks[-1].choices == [] and 0 < chunks[-1].usage.completion_tokens <= 40, chunks[-1]
assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] in ("stop", "length"), chunks
assert any(choice.delta.content for chunk in chunks for choice in chunk.choices), chunks

# Another API than the backend's.
response = client.responses.create(model="tiny", input="Tell me of the first people.", max_output_tokens=40)
assert 0 < response.usage.output_tokens <= 40 and response.output_text, response
print("openai", openai.__version__, "is served by a real model")
