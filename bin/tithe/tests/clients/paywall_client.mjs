// Clients that pay for each request by themselves, as customers without a session: `paywall_client.mjs CLIENT`.
// Their wallet is play money, and counts what it pays.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import * as alby from "@getalby/lightning-tools";

const server = process.env.TITHE_URL;
const paid = [];

async function pay(invoice) {
  const hash = alby.getPaymentHash(invoice);
  let answer = await fetch(`${server}/dev/stub/pay/${hash}`, { method: "POST" });
  // A wallet waits while its payment is held.
  while (answer.status === 409 && (await answer.clone().text()).includes("payment held")) {
    await new Promise((waited) => setTimeout(waited, 20));
    answer = await fetch(`${server}/dev/stub/pay/${hash}`, { method: "POST" });
  }
  assert.equal(answer.status, 200, await answer.clone().text());
  paid.push(hash);
  return (await answer.json()).preimage;
}

const wallet = { payInvoice: async ({ invoice }) => ({ preimage: await pay(invoice) }) };

// What a client sends: a function of path and body that returns the status, the text and the receipt.
const ofFetch = (fetch) => async (path, body) => {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(server + path, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, text: await answer.text(), receipt: answer.headers.get("payment-receipt") };
};

// The package has no Lightning: this is the method that its documentation asks for, with the schema of
// draft-lightning-charge-00.
async function lightning() {
  const { Credential, Method, z } = await import("mppx");
  const charge = Method.from({
    name: "lightning",
    intent: "charge",
    schema: {
      credential: { payload: z.object({ preimage: z.string() }) },
      request: z.looseObject({ amount: z.string(), methodDetails: z.looseObject({ invoice: z.string() }) }),
    },
  });
  return Method.toClient(charge, {
    async createCredential({ challenge }) {
      const preimage = await pay(challenge.request.methodDetails.invoice);
      return Credential.serialize({ challenge, payload: { preimage } });
    },
  });
}

async function ofMppx() {
  const { Mppx } = await import("mppx/client");
  return ofFetch(Mppx.create({ methods: [await lightning()], polyfill: false }).fetch);
}

// An agent: the client of MCP's own SDK, whose calls mppx pays for. What it sends are arguments of the tool, whatever the path.
async function ofMcp() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { McpClient } = await import("mppx/mcp/client");
  const client = new Client({ name: "agent", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${server}/mcp`)));
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name), ["ask"]);
  assert.ok(client.getServerCapabilities().experimental.payment.methods.lightning.intents.includes("charge"));
  McpClient.wrap(client, { methods: [await lightning()] });
  return async (_path, { request, maxOutputTokens }) => {
    const { isError, content, receipt } = await client.callTool({ name: "ask", arguments: { request, maxOutputTokens } });
    const text = JSON.stringify({ result: content[0].text });
    return { status: isError ? 500 : 200, text, receipt: Buffer.from(JSON.stringify(receipt)).toString("base64url") };
  };
}

function ofL402() {
  const require = createRequire(import.meta.url);
  const axios = require("axios");
  const { setupL402Interceptor, MemoryTokenStore, Wallet, PaymentResult } = require("l402");
  class PlayMoney extends Wallet {
    async payInvoice(invoice) {
      return new PaymentResult(await pay(invoice), true);
    }
  }
  const client = axios.create({ baseURL: server, responseType: "text", transformResponse: (text) => text });
  setupL402Interceptor(client, new PlayMoney(), new MemoryTokenStore());
  return async (path, body) => {
    const answer = await client.post(path, body);
    return { status: answer.status, text: answer.data, receipt: answer.headers["payment-receipt"] };
  };
}

const clients = {
  fetchWithL402: () => ofFetch((url, init) => alby.fetchWithL402(url, init, { wallet })),
  fetch402: () => ofFetch((url, init) => alby.fetch402(url, init, { wallet, maxAmount: 10_000 })),
  l402: ofL402,
  mppx: ofMppx,
  mcp: ofMcp,
};
const name = process.argv[2];
const send = await clients[name]();

let expected = 0;
async function buys(path, body) {
  const { status, text, receipt } = await send(path, body);
  assert.equal(status, 200, text);
  expected += 1;
  assert.equal(paid.length, expected, `${path}: paid ${paid.length} times, expected ${expected}`);
  const proof = JSON.parse(Buffer.from(receipt, "base64url"));
  assert.equal(proof.reference, paid.at(-1), "the receipt of another payment");
  return text;
}

const question = (text) => ({ model: "sim-large", messages: [{ role: "user", content: text }], max_tokens: 200 });
const asks = async (text) => assert.ok(JSON.parse(await buys("/api/ask", { request: text, maxOutputTokens: 200 })).result);
if (name === "mcp") {
  for (const text of ["Why is the sky blue?", "Why is grass green?", "Why is snow white?", "Why is coal black?", "Why?"]) await asks(text);
} else {
  // A client that stores a proof by its path shows it for the second request, too: it must be offered an invoice of its own.
  for (const text of ["Why is the sky blue?", "Why is grass green?"]) {
    await asks(text);
    assert.ok(JSON.parse(await buys("/v1/chat/completions", question(text))).choices[0].message.content);
  }
  const streamed = await buys("/v1/chat/completions", { ...question("Why is snow white?"), stream: true });
  assert.ok(streamed.startsWith("data: ") && streamed.trimEnd().endsWith("data: [DONE]"), streamed);
  assert.ok(!/^event:/m.test(streamed), streamed);
}
assert.equal(new Set(paid).size, paid.length, "an invoice was paid twice");
console.log(`${name} is served, for ${paid.length} payments`);
