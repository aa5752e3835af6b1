DROP TABLE session_requests;
DROP TABLE session_keys;
DROP TABLE sessions;
