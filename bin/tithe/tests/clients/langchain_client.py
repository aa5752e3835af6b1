"""LangChain, unchanged, as a customer."""

import os

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

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
print("langchain-openai is served")
