"""OpenAI's and Anthropic's Python SDKs as customers of a server whose backend sends odd streams."""

import json
import os

import anthropic
import openai

URL, KEY = os.environ["TITHE_URL"], os.environ["TITHE_KEY"]
OPENAI = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0)
ANTHROPIC = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
MODEL = "sim-large"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def chat(messages):
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    options = {"include_usage": True}
    stream = OPENAI.chat.completions.create(
        model=MODEL, messages=messages, tools=[tool], stream=True, stream_options=options
    )
    chunks = list(stream)
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, chunks[-1]
    choices = [chunk.choices[0] for chunk in chunks[:-1]]
    text = "".join(choice.delta.content or "" for choice in choices)
    pieces = [call for choice in choices for call in choice.delta.tool_calls or []]
    if pieces:
        assert pieces[0].id and pieces[0].type == "function" and {piece.index for piece in pieces} == {0}, pieces
        text = [pieces[0].function.name, json.loads("".join(piece.function.arguments or "" for piece in pieces))]
    return text, choices[-1].finish_reason


def responses(messages):
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA}
    events = list(OPENAI.responses.create(model=MODEL, input=messages, tools=[tool], stream=True))
    last = events[-1]
    if last.type == "response.failed":
        raise openai.APIError(last.response.error.message, request=None, body=None)
    calls = [item for item in last.response.output if item.type == "function_call"]
    if calls:
        return [calls[0].name, json.loads(calls[0].arguments)], "tool_calls"
    return last.response.output_text, {"completed": "stop", "incomplete": "length"}[last.response.status]


def messages(messages):
    tool = {"name": "weather", "input_schema": SCHEMA}
    with ANTHROPIC.messages.stream(model=MODEL, max_tokens=500, messages=messages, tools=[tool]) as stream:
        final = stream.get_final_message()
    reason = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}[final.stop_reason]
    calls = [block for block in final.content if block.type == "tool_use"]
    if calls:
        return [calls[0].name, calls[0].input], reason
    return "".join(block.text for block in final.content if block.type == "text"), reason


EXPECTED = {
    "text": ("Hello there.", "stop"),
    "call": (["weather", {"city": "Rome"}], "tool_calls"),
    "length": ("Hello", "length"),
    "failure": "failure",
}
cases, wrong = json.loads(os.environ["ODD_STREAMS"]), []
for case in cases:
    for ask in (chat, responses, messages):
        try:
            got = ask([{"role": "user", "content": f"<{case['name']}>"}])
        except (openai.APIError, anthropic.APIError) as failure:
            got = "failure"
            assert "charged" in str(failure), failure
        if got != EXPECTED[case["becomes"]]:
            wrong.append(f"{case['name']}, {ask.__name__}: {got}")
assert not wrong, "\n".join(wrong)
print(len(cases), "odd streams are served")
