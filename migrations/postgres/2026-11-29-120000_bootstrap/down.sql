DROP TABLE bootstrap_jobs;
