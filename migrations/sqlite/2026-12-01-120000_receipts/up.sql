-- What a receipt says of a charged request of a session: the SHA-256 of the request (64 hexadecimal digits), and the price of one bitcoin
-- at which it was quoted, in millionths of a dollar. Null while the request runs, if it has failed, and for requests from before.
ALTER TABLE session_requests ADD COLUMN request_hash TEXT CHECK (length(request_hash) = 64);
ALTER TABLE session_requests ADD COLUMN btc_price_usd_micros BIGINT CHECK (
    btc_price_usd_micros > 0 AND (btc_price_usd_micros IS NULL) = (request_hash IS NULL)
);
