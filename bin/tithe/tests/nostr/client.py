"""A customer whose events are made by nostr-sdk. Takes the server's URL; says who it was."""

import hashlib
import json
import sys
import urllib.error
import urllib.request
from base64 import b64encode

from nostr_sdk import EventBuilder, HttpData, HttpMethod, Keys, Kind, RelayUrl, Tag

server = sys.argv[1]
keys = Keys.generate()
pubkey = keys.public_key().to_hex()
npub = keys.public_key().to_bech32()


def call(method, path, headers=None, body=None):
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(server + path, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def same(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found} is not {wanted}")


def nonce():
    status, challenge = call("POST", "/api/identity/challenge", body=b"")
    same(status, 200)
    return challenge["nonce"]


def authorization(url, method, payload=None):
    event = EventBuilder.http_auth(HttpData(url=url, method=method, payload=payload)).sign_with_keys(keys)
    return {"Authorization": "Nostr " + b64encode(event.as_json().encode()).decode()}


# Logging in, with each kind of event that may carry the nonce.
def client_auth():
    return EventBuilder.auth(nonce(), RelayUrl.parse(server.replace("http", "ws")))


def http_auth():
    tags = [["u", server + "/api/identity/verify"], ["method", "POST"], ["challenge", nonce()]]
    return EventBuilder(Kind(27235), "").tags([Tag.parse(tag) for tag in tags])


for made in (client_auth, http_auth):
    event = json.loads(made().sign_with_keys(keys).as_json())
    login = json.dumps({"event": event, "pubkey": npub}).encode()
    status, verified = call("POST", "/api/identity/verify", body=login)
    same((status, verified.get("pubkey")), (200, pubkey))
    status, me = call("GET", "/api/identity/me", {"X-Nostr-Token": verified["nostr_token"]})
    same((status, me["pubkey"], me["npub"], me["trust"]["tier"]), (200, pubkey, npub, "new"))
    same(call("POST", "/api/identity/verify", body=login)[0], 401)

# Signing each request (NIP-98).
body = json.dumps({"request": "Why is the sky blue? 空 💙"}).encode()
signed = authorization(server + "/api/jobs", HttpMethod.POST, hashlib.sha256(body).hexdigest())
same(call("POST", "/api/jobs", signed, b'{"request":"x"}')[0], 401)
status, job = call("POST", "/api/jobs", signed, body)
same((status, job.get("trust_tier")), (201, "new"))
signed = authorization(server + "/api/identity/me", HttpMethod.GET)
status, me = call("GET", "/api/identity/me", signed)
same((status, me.get("pubkey")), (200, pubkey))
same(call("GET", "/api/identity/me", signed)[0], 401)

print(json.dumps({"pubkey": pubkey, "jobId": job["jobId"]}))
