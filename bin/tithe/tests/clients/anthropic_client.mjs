// Anthropic's TypeScript SDK, unchanged, as a customer.
import assert from 'node:assert/strict'
import Anthropic from '@anthropic-ai/sdk'

const { TITHE_URL: baseURL, TITHE_KEY: apiKey, TITHE_POOR_KEY } = process.env
const model = 'sim-large'
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const client = new Anthropic({ baseURL, apiKey, maxRetries: 0 })
const user = content => [{ role: 'user', content }]
const ask = (request, asking = client) => asking.messages.create({ model, max_tokens: 500, messages: user('Why is the sky blue?'), ...request })

async function refused(kind, asking) {
  const failure = await asking.then(() => assert.fail('it is not refused'), failure => failure)
  assert.ok(failure instanceof kind, failure)
  return failure
}

// A message, whole and as a stream, says and uses the same.
const whole = await ask({ system: 'Be kind.' })
assert.match(whole.content[0].text, /^You asked: Why is the sky blue\?/)
assert.equal(whole.stop_reason, 'end_turn')
const final = await client.messages.stream({ model, max_tokens: 500, messages: user('Why is the sky blue?') }).finalMessage()
assert.equal(final.content[0].text, whole.content[0].text)
assert.equal(final.usage.output_tokens, whole.usage.output_tokens)
const events = []
for await (const event of await ask({ stream: true })) events.push(event.type)
assert.deepEqual([events[0], events.at(-1)], ['message_start', 'message_stop'])

// The key may also be a token, as Claude Code sends it.
assert.ok(await ask({}, new Anthropic({ baseURL, apiKey: null, authToken: apiKey })))

const short = await ask({ max_tokens: 5 })
assert.deepEqual([short.stop_reason, short.usage.output_tokens], ['max_tokens', 5])

// A prompt in blocks, with what only Anthropic's own backends understand.
const blocks = [{ type: 'text', text: 'Be kind.', cache_control: { type: 'ephemeral' } }]
assert.ok(await ask({ system: blocks, metadata: { user_id: 'somebody' } }))
assert.ok(await client.beta.messages.create({ model, max_tokens: 50, messages: user('hi'), betas: ['context-1m-2025-08-07'] }))

// A whole round trip of functions, whole and as streams.
const weather = { name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }
const trips = { whole: ask, stream: request => client.messages.stream({ model, max_tokens: 500, ...request }).finalMessage() }
for (const trip of Object.values(trips)) {
  const messages = user('[sim:call=weather]')
  const first = await trip({ messages, tools: [weather] })
  const call = first.content.find(block => block.type === 'tool_use')
  assert.equal(first.stop_reason, 'tool_use')
  assert.deepEqual(call.input, { city: 'simulated' })
  messages.push({ role: 'assistant', content: first.content })
  messages.push(...user([{ type: 'tool_result', tool_use_id: call.id, content: 'It rains.' }]))
  assert.match((await trip({ messages, tools: [weather] })).content[0].text, /It rains\./)
}

// Images are seen; remote ones are refused.
const image = source => user([{ type: 'image', source }])
const seen = await ask({ messages: image({ type: 'base64', media_type: 'image/png', data: PIXEL }) })
assert.match(seen.content[0].text, /You sent an image\./)
await refused(Anthropic.BadRequestError, ask({ messages: image({ type: 'url', url: 'https://example.com/a.png' }) }))

const counted = await client.messages.countTokens({ model, messages: user('Why is the sky blue?') })
assert.ok(counted.input_tokens > 3)
const models = []
for await (const each of client.models.list()) models.push(each.id)
assert.ok(models.includes(model))
assert.equal((await client.models.retrieve(model)).display_name, model)

// Mistakes, and nothing left: Anthropic's errors, of which the SDK tries none again.
const kind = failure => failure.error.error.type
assert.equal(kind(await refused(Anthropic.NotFoundError, ask({ model: 'claude-nothing' }))), 'not_found_error')
await refused(Anthropic.AuthenticationError, ask({}, new Anthropic({ baseURL, apiKey: 'sk-ant-wrong', maxRetries: 0 })))
let tries = 0
const poor = new Anthropic({ baseURL, apiKey: TITHE_POOR_KEY, fetch: (...request) => (tries++, fetch(...request)) })
for (const stream of [false, true]) {
  const broke = await refused(Anthropic.APIError, ask({ stream }, poor))
  assert.deepEqual([broke.status, kind(broke)], [402, 'billing_error'])
  assert.ok(broke.requestID, 'a request id')
}
assert.equal(tries, 2)

// A failure of the backend, before and in the middle of an answer.
await refused(Anthropic.InternalServerError, ask({ messages: user('[sim:fail]') }))
await refused(Anthropic.APIError, client.messages.stream({ model, max_tokens: 500, messages: user('[sim:die]') }).finalMessage())

console.log('@anthropic-ai/sdk is served')
