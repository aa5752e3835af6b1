// OpenAI's JavaScript SDK, unchanged, as a customer.
import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { z } from 'zod'

const { TITHE_URL, TITHE_KEY, TITHE_POOR_KEY } = process.env
const baseURL = `${TITHE_URL}/v1`
const model = 'sim-large'
const client = new OpenAI({ baseURL, apiKey: TITHE_KEY, maxRetries: 0 })
const user = content => [{ role: 'user', content }]
const chat = request => client.chat.completions.create({ model, messages: user('Why is the sky blue?'), ...request })

async function refused(kind, asking) {
  const failure = await asking.then(() => assert.fail('it is not refused'), failure => failure)
  assert.ok(failure instanceof kind, failure)
  return failure
}

async function all(stream) {
  const chunks = []
  for await (const chunk of await stream) chunks.push(chunk)
  return chunks
}

// A chat, whole and as a stream, says and uses the same.
const { data: whole, response: headers } = await chat({}).withResponse()
assert.match(whole.choices[0].message.content, /^You asked: Why is the sky blue\?/)
assert.equal(whole.choices[0].finish_reason, 'stop')
const cost = Number(headers.headers.get('x-tithe-cost-msats'))
assert.equal(whole.usage.cost_msats, cost)
assert.ok(cost > 0 && Number(headers.headers.get('x-tithe-balance-msats')) > 0)

// What a request used can be read afterwards, and the balance goes down by what it cost.
const ours = async path => (await fetch(`${baseURL}/${path}`, { headers: { authorization: `Bearer ${TITHE_KEY}` } })).json()
const id = headers.headers.get('x-generation-id')
assert.ok((await ours(`generation?id=${id}`)).data, 'a generation')
const before = (await ours('credits')).data
const next = await chat({})
const after = (await ours('credits')).data
assert.equal(before.balance_msats - after.balance_msats, next.usage.cost_msats)

const chunks = await all(chat({ stream: true, stream_options: { include_usage: true } }))
const text = chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join('')
assert.equal(text, whole.choices[0].message.content)
assert.deepEqual(chunks.at(-1).choices, [])
assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens)
const plain = await all(chat({ stream: true }))
assert.ok(plain.every(chunk => !('usage' in chunk) && chunk.choices.length === 1))
assert.equal(plain.at(-1).choices[0].finish_reason, 'stop')
assert.equal((await chat({ max_completion_tokens: 5 })).choices[0].finish_reason, 'length')

// The SDK puts a stream together, and a client that leaves one is not waited for.
const final = await client.chat.completions.stream({ model, messages: user('Why is the sky blue?') }).finalChatCompletion()
assert.equal(final.choices[0].message.content, text)
const left = await chat({ stream: true, messages: user('[sim:slow=20] hi') })
for await (const _chunk of left) break

// A whole round trip of functions, by hand and by the SDK's runner.
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const weather = { type: 'function', function: { name: 'weather', description: 'The weather of a city.', parameters } }
const messages = user('What is the weather? [sim:call=weather]')
const first = await chat({ messages, tools: [weather] })
const [call] = first.choices[0].message.tool_calls
assert.equal(first.choices[0].finish_reason, 'tool_calls')
assert.deepEqual(JSON.parse(call.function.arguments), { city: 'simulated' })
messages.push(first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'It rains.' })
assert.match((await chat({ messages, tools: [weather] })).choices[0].message.content, /The functions returned: It rains\./)
const runnable = { ...weather, function: { ...weather.function, parse: JSON.parse, function: ({ city }) => `It rains in ${city}.` } }
for (const stream of [false, true]) {
  const runner = client.chat.completions.runTools({ model, stream, messages: user('[sim:call=weather]'), tools: [runnable] })
  assert.match(await runner.finalContent(), /It rains in simulated\./)
}

// Structured output.
const Event = z.object({ name: z.string(), days: z.int() })
const parsed = await client.chat.completions.parse({ model, messages: user('Make one.'), response_format: zodResponseFormat(Event, 'event') })
assert.equal(typeof parsed.choices[0].message.parsed.name, 'string')

// Responses: whole, streamed, with functions.
const response = await client.responses.create({ model, input: 'Why is the sky blue?', instructions: 'Be brief.' })
assert.match(response.output_text, /^You asked: Why is the sky blue\?/)
assert.equal(response.status, 'completed')
const events = await all(client.responses.create({ model, input: 'hi', stream: true }))
assert.deepEqual([events[0].type, events.at(-1).type], ['response.created', 'response.completed'])
assert.deepEqual(events.map(event => event.sequence_number), [...events.keys()])
const streamed = await client.responses.stream({ model, input: 'Why is the sky blue?' }).finalResponse()
assert.equal(streamed.output_text, response.output_text)
const tool = { type: 'function', name: 'weather', parameters, strict: true }
const input = user('[sim:call=weather]')
const called = await client.responses.create({ model, input, tools: [tool] })
const asked = called.output.find(item => item.type === 'function_call')
input.push(...called.output, { type: 'function_call_output', call_id: asked.call_id, output: 'It rains.' })
assert.match((await client.responses.create({ model, input, tools: [tool] })).output_text, /It rains\./)
const died = await all(client.responses.create({ model, input: '[sim:die]', stream: true })).catch(failure => [{ type: 'thrown', failure }])
assert.ok(['response.failed', 'thrown'].includes(died.at(-1).type), died.at(-1))

// The models.
const models = []
for await (const each of client.models.list()) models.push(each.id)
assert.ok(models.includes(model))
assert.equal((await client.models.retrieve(model)).object, 'model')

// Mistakes.
assert.equal((await refused(OpenAI.NotFoundError, chat({ model: 'gpt-nothing' }))).code, 'model_not_found')
assert.equal((await refused(OpenAI.BadRequestError, chat({ n: 2 }))).param, 'n')
const remote = { type: 'image_url', image_url: { url: 'https://example.com/a.png' } }
await refused(OpenAI.BadRequestError, chat({ messages: user([remote]) }))
const stranger = new OpenAI({ baseURL, apiKey: 'sk-wrong', maxRetries: 0 })
await refused(OpenAI.AuthenticationError, stranger.chat.completions.create({ model, messages: user('hi') }))

// Nothing left: an error that agents know, and that the SDK does not try again.
let tries = 0
const counted = (...request) => (tries++, fetch(...request))
const poor = new OpenAI({ baseURL, apiKey: TITHE_POOR_KEY, fetch: counted })
for (const stream of [false, true]) {
  const broke = await refused(OpenAI.APIError, poor.chat.completions.create({ model, messages: user('Why?'), stream }))
  assert.deepEqual([broke.status, broke.code, broke.type], [402, 'insufficient_quota', 'insufficient_quota'])
  assert.doesNotMatch(broke.message, /max_tokens|context|too large/)
  assert.ok(broke.error.metadata.reason, broke.error)
}
await refused(OpenAI.APIError, poor.responses.create({ model, input: 'Why?' }))
assert.equal(tries, 3)

// A failure of the backend, before and in the middle of an answer.
assert.equal((await refused(OpenAI.InternalServerError, chat({ messages: user('[sim:fail]') }))).status, 502)
assert.ok((await refused(OpenAI.APIError, all(chat({ messages: user('[sim:die]'), stream: true })))).message)

// Embeddings: the SDK asks for base64 and decodes it.
const embedding = 'sim-embedding'
const texts = ['Why is the sky blue?', 'Why is the sky so blue?', 'A recipe for bread']
const embedded = await client.embeddings.create({ model: embedding, input: texts })
const [sky, same, bread] = embedded.data.map(row => row.embedding)
const alike = (a, b) => a.reduce((sum, x, n) => sum + x * b[n], 0)
assert.ok(Math.abs(alike(sky, sky) - 1) < 1e-5 && alike(sky, same) > alike(sky, bread))
const floats = await client.embeddings.create({ model: embedding, input: [5, 6, 7], encoding_format: 'float', dimensions: 64 })
assert.deepEqual([floats.data[0].embedding.length, floats.usage.prompt_tokens], [64, 3])
assert.equal((await refused(OpenAI.BadRequestError, client.embeddings.create({ model, input: 'hi' }))).param, 'model')
assert.equal((await refused(OpenAI.APIError, poor.embeddings.create({ model: embedding, input: 'hi' }))).status, 402)

console.log('openai for JavaScript is served')
