// A customer whose events are made by nostr-tools. Takes the server's URL; says who it was.
import assert from 'node:assert/strict'
import { finalizeEvent, generateSecretKey, getPublicKey } from 'nostr-tools/pure'
import { npubEncode } from 'nostr-tools/nip19'
import { makeAuthEvent } from 'nostr-tools/nip42'
import { getToken } from 'nostr-tools/nip98'

const server = process.argv[2]
const key = generateSecretKey()
const pubkey = getPublicKey(key)
const npub = npubEncode(pubkey)
const sign = template => finalizeEvent(template, key)

async function call(method, path, { headers = {}, body } = {}) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) }
  const answer = await fetch(server + path, {
    method,
    headers: { 'Content-Type': 'application/json', ...headers },
    ...sent,
  })
  return [answer.status, await answer.json()]
}

async function nonce() {
  const [status, challenge] = await call('POST', '/api/identity/challenge')
  assert.equal(status, 200)
  return challenge.nonce
}

// Logging in, with each kind of event that may carry the nonce.
const clientAuth = async () => makeAuthEvent(server.replace('http', 'ws'), await nonce())
const httpAuth = async () => ({
  kind: 27235,
  created_at: Math.floor(Date.now() / 1000),
  tags: [['u', `${server}/api/identity/verify`], ['method', 'POST'], ['challenge', await nonce()]],
  content: '',
})
for (const template of [clientAuth, httpAuth]) {
  const event = sign(await template())
  const [status, verified] = await call('POST', '/api/identity/verify', { body: { event, pubkey: npub } })
  assert.equal(status, 200, JSON.stringify(verified))
  assert.equal(verified.pubkey, pubkey)
  const [known, me] = await call('GET', '/api/identity/me', { headers: { 'X-Nostr-Token': verified.nostr_token } })
  assert.deepEqual([known, me.pubkey, me.npub, me.trust.tier], [200, pubkey, npub, 'new'])
  const [again] = await call('POST', '/api/identity/verify', { body: { event } })
  assert.equal(again, 401, 'a nonce is good once')
}

// Signing each request (NIP-98), with the method as the library's own example writes it.
const body = { request: 'Why is the sky blue? 空 💙' }
const signedPost = await getToken(`${server}/api/jobs`, 'post', sign, true, body)
const [swapped] = await call('POST', '/api/jobs', { headers: { Authorization: signedPost }, body: { request: 'x' } })
assert.equal(swapped, 401, 'it is signed for another body')
const [created, job] = await call('POST', '/api/jobs', { headers: { Authorization: signedPost }, body })
assert.deepEqual([created, job.trust_tier], [201, 'new'], JSON.stringify(job))
const signedGet = await getToken(`${server}/api/identity/me`, 'get', sign, true)
const [read, me] = await call('GET', '/api/identity/me', { headers: { Authorization: signedGet } })
assert.deepEqual([read, me.pubkey], [200, pubkey], JSON.stringify(me))
const [replayed] = await call('GET', '/api/identity/me', { headers: { Authorization: signedGet } })
assert.equal(replayed, 401, 'a signed request is good once')

console.log(JSON.stringify({ pubkey, jobId: job.jobId }))
