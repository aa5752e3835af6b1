"""Writes a tiny language model that a real llama-server loads: random weights, a vocabulary of bytes and 100 words.

It says nothing sensible, but it reads prompts, counts tokens and streams like any other. Standard library only.
GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import random
import struct
import sys

WORDS = (
    "the a of to and in is it you that he was for on are with as I his they be at one have this from or had by hot but "
    "some what there we can out other were all your when up use word how said an each she which do their time if will way "
    "about many then them would write like so these her long make thing see him two has look more day could go come did "
    "my sound no most number who over know water than call first people may down side been now find"
).split()
TOKENS = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581" + word for word in WORDS]
UNKNOWN, CONTROL, NORMAL, BYTE = 2, 3, 1, 6
TYPES = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(WORDS)
SCORES = [0.0] * 259 + [-float(rank) for rank in range(len(WORDS))]
WIDTH, INNER, HEADS, CONTEXT, ALIGN = 32, 64, 4, 4096, 32
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"

random.seed(1)


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def number(key, value):
    return pair(key, 4, struct.pack("<I", value))


def real(key, value):
    return pair(key, 6, struct.pack("<f", value))


def string(key, value):
    return pair(key, 8, text(value))


def array(key, kind, items):
    return pair(key, 9, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def noise(rows, columns):
    return [[random.gauss(0, 0.3) for _ in range(columns)] for _ in range(rows)]


def tensors():
    # Column 0 of every hidden state is 1, so column 0 of the output matrix is a bias for each token: bytes and controls are
    # never said, and the end only sometimes.
    embedding = noise(len(TOKENS), WIDTH)
    output = noise(len(TOKENS), WIDTH)
    for token, row in enumerate(embedding):
        row[0] = 1.0
        output[token][0] = 0.0 if token >= 259 else -20.0
    output[2] = [0.3] + [0.0] * (WIDTH - 1)
    yield "token_embd.weight", embedding
    yield "output_norm.weight", [[1.0] * WIDTH]
    yield "output.weight", output
    yield "blk.0.attn_norm.weight", [[1.0] * WIDTH]
    yield "blk.0.ffn_norm.weight", [[1.0] * WIDTH]
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield f"blk.0.{name}.weight", keep_first(noise(WIDTH, WIDTH), name == "attn_output")
    yield "blk.0.ffn_gate.weight", noise(INNER, WIDTH)
    yield "blk.0.ffn_up.weight", noise(INNER, WIDTH)
    yield "blk.0.ffn_down.weight", keep_first(noise(WIDTH, INNER), True)


def keep_first(matrix, clear):
    if clear:
        matrix[0] = [0.0] * len(matrix[0])
    return matrix


metadata = [
    string("general.architecture", "llama"),
    string("general.name", "tiny-random"),
    number("general.file_type", 0),
    number("llama.context_length", CONTEXT),
    number("llama.embedding_length", WIDTH),
    number("llama.block_count", 1),
    number("llama.feed_forward_length", INNER),
    number("llama.attention.head_count", HEADS),
    number("llama.attention.head_count_kv", HEADS),
    real("llama.attention.layer_norm_rms_epsilon", 1e-5),
    number("llama.rope.dimension_count", WIDTH // HEADS),
    number("llama.vocab_size", len(TOKENS)),
    string("tokenizer.ggml.model", "llama"),
    array("tokenizer.ggml.tokens", 8, [text(token) for token in TOKENS]),
    array("tokenizer.ggml.scores", 6, [struct.pack("<f", score) for score in SCORES]),
    array("tokenizer.ggml.token_type", 5, [struct.pack("<i", kind) for kind in TYPES]),
    number("tokenizer.ggml.bos_token_id", 1),
    number("tokenizer.ggml.eos_token_id", 2),
    number("tokenizer.ggml.unknown_token_id", 0),
    string("tokenizer.chat_template", TEMPLATE),
]

infos, data = [], b""
for name, matrix in tensors():
    shape = [len(matrix[0])] if len(matrix) == 1 else [len(matrix[0]), len(matrix)]
    infos.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data)))
    data += b"".join(struct.pack(f"<{len(row)}f", *row) for row in matrix)
    data += b"\0" * (-len(data) % ALIGN)

head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(metadata)) + b"".join(metadata + infos)
with open(sys.argv[1], "wb") as file:
    file.write(head + b"\0" * (-len(head) % ALIGN) + data)
