ALTER TABLE session_requests DROP COLUMN btc_price_usd_micros;
ALTER TABLE session_requests DROP COLUMN request_hash;
