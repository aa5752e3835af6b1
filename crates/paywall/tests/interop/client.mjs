// A holder with the package macaroon. Takes a root key in hex, a macaroon, a caveat; prints macaroons that it made and narrowed.
import assert from 'node:assert/strict'
import macaroons from 'macaroon'

const [rootKeyHex, text, caveat] = process.argv.slice(2)
const rootKey = new Uint8Array(Buffer.from(rootKeyHex, 'hex'))
const accept = () => null
const serialize = macaroon => macaroons.bytesToBase64(macaroon.exportBinary())

const theirs = macaroons.importMacaroon(text)
theirs.verify(rootKey, accept)
assert.throws(() => theirs.verify(new Uint8Array(32), accept))

const narrowed = macaroons.importMacaroon(text)
narrowed.addFirstPartyCaveat(caveat)

const { identifier, location } = theirs
const made = macaroons.newMacaroon({ identifier, location, rootKey, version: 2 })
made.addFirstPartyCaveat(caveat)

// As short as possible: the package doubles the size of its buffer with each field that it writes (version 3.0.4).
const thirdParty = macaroons.newMacaroon({ identifier, rootKey, version: 2 })
thirdParty.addThirdPartyCaveat(new Uint8Array(32), 'their caveat')

console.log(
  JSON.stringify({ narrowed: serialize(narrowed), made: serialize(made), thirdParty: serialize(thirdParty) }),
)
