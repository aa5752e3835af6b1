"""l402-requests, which pays for each request by itself. Its wallet is play money, and counts what it pays."""

import asyncio
import base64
import json
import os

import httpx
from l402_requests import L402Client, WalletBase

SERVER = os.environ["TITHE_URL"]
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def payment_hash(bolt11):
    """The payment hash of an invoice: the tagged field `p`, after 35 bits of time."""
    data = [BECH32.index(char) for char in bolt11.lower().rpartition("1")[2]][7:]
    while data[0] != 1:
        data = data[3 + data[1] * 32 + data[2]:]
    bits = "".join(f"{five:05b}" for five in data[3:55])[:256]
    return f"{int(bits, 2):064x}"


class PlayMoney(WalletBase):
    def __init__(self):
        self.paid = []

    async def pay_invoice(self, bolt11):
        payment = payment_hash(bolt11)
        answer = httpx.post(f"{SERVER}/dev/stub/pay/{payment}")
        # A wallet waits while its payment is held.
        while answer.status_code == 409 and "payment held" in answer.text:
            await asyncio.sleep(0.02)
            answer = httpx.post(f"{SERVER}/dev/stub/pay/{payment}")
        assert answer.status_code == 200, answer.text
        self.paid.append(payment)
        return answer.json()["preimage"]


wallet = PlayMoney()
client = L402Client(wallet=wallet, timeout=60)
expected = 0


def buys(path, body):
    global expected
    answer = client.post(SERVER + path, json=body)
    assert answer.status_code == 200, (answer.status_code, answer.text)
    expected += 1
    assert len(wallet.paid) == expected, f"{path}: paid {len(wallet.paid)} times, expected {expected}"
    receipt = answer.headers["payment-receipt"]
    receipt = json.loads(base64.urlsafe_b64decode(receipt + "=" * (-len(receipt) % 4)))
    assert receipt["reference"] == wallet.paid[-1], receipt
    return answer


def question(text):
    return {"model": "sim-large", "messages": [{"role": "user", "content": text}], "max_tokens": 200}


# It stores a proof by host and path, and shows it for the second request, too.
for text in ("Why is the sky blue?", "Why is grass green?"):
    assert buys("/api/ask", {"request": text, "maxOutputTokens": 200}).json()["result"]
    assert buys("/v1/chat/completions", question(text)).json()["choices"][0]["message"]["content"]
streamed = buys("/v1/chat/completions", {**question("Why is snow white?"), "stream": True}).text
assert streamed.startswith("data: ") and streamed.rstrip().endswith("data: [DONE]"), streamed
assert len(set(wallet.paid)) == len(wallet.paid), "an invoice was paid twice"
print(f"l402-requests is served, for {len(wallet.paid)} payments")
