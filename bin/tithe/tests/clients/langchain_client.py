"""LangChain, unchanged, as a customer."""

import os

import tiktoken
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

model = ChatOpenAI(
    model="sim-large", base_url=os.environ["TITHE_URL"] + "/v1", api_key=os.environ["TITHE_KEY"], stream_usage=True
)
whole = model.invoke("Why is the sky blue?")
assert whole.content.startswith("You asked: Why is the sky blue?")
pieces = list(model.stream("Why is the sky blue?"))
assert "".join(piece.content for piece in pieces) == whole.content
assert sum((piece.usage_metadata or {}).get("output_tokens", 0) for piece in pieces) == whole.usage_metadata["output_tokens"]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


tools = model.bind_tools([weather])
messages = [HumanMessage("[sim:call=weather]")]
asked = tools.invoke(messages)
assert asked.tool_calls[0]["args"] == {"city": "simulated"}
messages += [asked, weather.invoke(asked.tool_calls[0])]
assert "It rains in simulated." in tools.invoke(messages).content

# LangChain counts tokens itself, and sends them instead of texts unless it is told not to. It would fetch an encoding of OpenAI's.
plain = tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={})
tiktoken.encoding_for_model = tiktoken.get_encoding = lambda _name: plain
key, base = os.environ["TITHE_KEY"], os.environ["TITHE_URL"] + "/v1"
texts = ["Why is the sky blue?", "Why is the sky so blue?", "A recipe for bread"]
for settings in [{}, {"check_embedding_ctx_length": False}]:
    embeddings = OpenAIEmbeddings(model="sim-embedding", base_url=base, api_key=key, **settings)
    sky, same, bread = embeddings.embed_documents(texts)
    assert len(sky) == 256 and embeddings.embed_query(texts[0]) == sky, settings
    assert sum(x * x for x in sky) > 0.999 and len({tuple(sky), tuple(same), tuple(bread)}) == 3, settings
print("langchain-openai is served")
