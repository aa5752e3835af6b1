// The AI SDK, unchanged, as a customer: over OpenAI's chat completions and Anthropic's messages.
import assert from 'node:assert/strict'
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, embed, embedMany, generateObject, generateText, Output, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'

globalThis.AI_SDK_LOG_WARNINGS = false
const { TITHE_URL, TITHE_KEY, TITHE_POOR_KEY } = process.env
const baseURL = `${TITHE_URL}/v1`
let tries = 0
const counted = (...request) => (tries++, fetch(...request))
const tithe = { name: 'tithe', baseURL }
const providers = {
  'openai-compatible': apiKey => createOpenAICompatible({ ...tithe, apiKey, includeUsage: true, supportsStructuredOutputs: true, fetch: counted }),
  anthropic: apiKey => createAnthropic({ baseURL, apiKey, fetch: counted }),
}
const weather = tool({
  description: 'The weather of a city.',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `It rains in ${city}.`,
})

for (const [name, provider] of Object.entries(providers)) {
  const model = provider(TITHE_KEY)('sim-large')
  const asked = { model, prompt: 'Why is the sky blue?', maxRetries: 0 }

  // A text, whole and as a stream, says and uses the same.
  const whole = await generateText(asked)
  assert.match(whole.text, /^You asked: Why is the sky blue\?/)
  assert.equal(whole.finishReason, 'stop')
  assert.ok(whole.usage.inputTokens > 0 && whole.usage.outputTokens > 0)
  const streamed = streamText(asked)
  assert.equal(await streamed.text, whole.text)
  assert.equal(await streamed.finishReason, 'stop')
  assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens)
  assert.equal((await generateText({ ...asked, maxOutputTokens: 5 })).finishReason, 'length')

  // The reasoning of a model is told apart from its text.
  const reasoned = streamText({ ...asked, prompt: '[sim:reason] Why?' })
  assert.match(await reasoned.reasoningText, /this is a simulation/)

  // The SDK runs the tools until the model is content, whole and as a stream.
  const loop = { ...asked, prompt: '[sim:call=weather]', tools: { weather }, stopWhen: stepCountIs(3) }
  const ran = await generateText(loop)
  assert.match(ran.text, /It rains in simulated\./)
  assert.equal(ran.steps.length, 2)
  const running = streamText(loop)
  assert.match(await running.text, /It rains in simulated\./)
  assert.equal((await running.steps).length, 2)

  // An object of a schema.
  const schema = z.object({ name: z.string(), days: z.number().int() })
  const { output } = await generateText({ ...asked, output: Output.object({ schema }) })
  assert.equal(typeof output.name, 'string')
  assert.equal(typeof (await generateObject({ ...asked, schema })).object.name, 'string')

  // A failure in the middle of an answer is a part of the stream.
  const parts = []
  for await (const part of streamText({ ...asked, prompt: '[sim:die]', onError() {} }).fullStream) parts.push(part.type)
  assert.ok(parts.includes('error') && parts.includes('text-delta'), parts.join())

  // Nothing left: the SDK does not try again.
  tries = 0
  const poor = provider(TITHE_POOR_KEY)('sim-large')
  const broke = await generateText({ model: poor, prompt: 'Why?' }).then(() => assert.fail('work for nothing'), failure => failure)
  assert.ok(APICallError.isInstance(broke), broke)
  assert.deepEqual([broke.statusCode, broke.isRetryable, tries], [402, false, 1])
  assert.match(broke.responseBody, name === 'anthropic' ? /billing_error/ : /insufficient_quota/)
  console.log('ai with', name, 'is served')
}

// Embeddings, which only OpenAI's API has.
const embedding = providers['openai-compatible'](TITHE_KEY).embeddingModel('sim-embedding')
const values = ['Why is the sky blue?', 'A recipe for bread']
const many = await embedMany({ model: embedding, values, maxRetries: 0 })
assert.deepEqual(many.embeddings.map(each => each.length), [256, 256])
assert.ok(many.usage.tokens > 0)
const one = await embed({ model: embedding, value: values[0], maxRetries: 0 })
assert.deepEqual(one.embedding, many.embeddings[0])
console.log('embeddings with ai are served')
