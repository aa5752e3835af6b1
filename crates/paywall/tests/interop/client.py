"""A holder with pymacaroons. Takes a root key in hex, a macaroon, a caveat; prints macaroons that it made and narrowed."""

import json
import sys

from pymacaroons import MACAROON_V2, Macaroon, Verifier
from pymacaroons.exceptions import MacaroonInvalidSignatureException

root_key, text, caveat = bytes.fromhex(sys.argv[1]), sys.argv[2], sys.argv[3]


def check(macaroon, key):
    verifier = Verifier()
    verifier.satisfy_general(lambda _: True)
    return verifier.verify(macaroon, key)


theirs = Macaroon.deserialize(text)
if not check(theirs, root_key):
    raise AssertionError("the macaroon is not verified")
try:
    check(theirs, b"another key")
    raise AssertionError("the macaroon is verified with another key")
except MacaroonInvalidSignatureException:
    pass

# The four lines of the README.
macaroon = Macaroon.deserialize(text)
macaroon.add_first_party_caveat(caveat)
narrowed = macaroon.serialize()

made = Macaroon(location=theirs.location, identifier=theirs.identifier, key=root_key, version=MACAROON_V2)
made.add_first_party_caveat(caveat)
third_party = Macaroon.deserialize(text)
third_party.add_third_party_caveat("https://another.example", "their key", "their caveat")

print(json.dumps({"narrowed": narrowed, "made": made.serialize(), "thirdParty": third_party.serialize()}))
