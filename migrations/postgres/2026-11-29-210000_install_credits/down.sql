DROP TABLE revoked_licences;
DROP TABLE install_origins;
DROP TABLE credits;
DROP TABLE install_credits;
