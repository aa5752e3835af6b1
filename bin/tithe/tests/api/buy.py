"""Buys a job with the client that openapi-python-client has generated, and prints it: `python buy.py URL`."""

import json
import sys
import time
import uuid

from generated import Client
from generated.api.development import pay_for_test
from generated.api.invoices import read_invoice
from generated.api.jobs import create_job, estimate_text, list_models, read_job
from generated.models import JobBody, NewJobBody, ProblemBody, ProblemCode
from generated.types import UNSET

REQUEST = "Why is the sky blue?"
KEY = str(uuid.uuid4())


def pay(client, invoice):
    paid = pay_for_test.sync(client=client, payment_hash=invoice.payment_hash)
    assert not isinstance(paid, ProblemBody), paid
    assert read_invoice.sync(client=client, payment_hash=invoice.payment_hash).state == "paid"


def wait_for(client, job_id, done):
    deadline = time.monotonic() + 60
    while True:
        job = read_job.sync(client=client, job_id=job_id, prefer="wait=10")
        assert isinstance(job, JobBody), job
        if done(job):
            return job
        assert time.monotonic() < deadline, job


client = Client(base_url=sys.argv[1])

offered = list_models.sync(client=client)
assert offered.models, offered

estimate = estimate_text.sync(client=client, body=NewJobBody(request=REQUEST))
assert estimate.range_.max_sats >= estimate.range_.min_sats > 0 and estimate.estimated_msats > 0, estimate

order = {"body": NewJobBody(request=REQUEST), "idempotency_key": KEY}
response = create_job.sync_detailed(client=client, **order)
created = response.parsed
assert response.status_code == 201, response
assert response.headers["location"].endswith(str(created.job_id)), response.headers
again = create_job.sync(client=client, **order)
assert again == created, again

pay(client, created.eval_invoice)
accepted = wait_for(client, created.job_id, lambda job: job.work_invoice is not UNSET and job.work_invoice is not None)
pay(client, accepted.work_invoice)
job = wait_for(client, created.job_id, lambda job: job.refund is not UNSET and job.refund is not None)
assert job.state == "complete", job
assert job.result and job.usage.output_tokens > 0, job
assert job.charged.charged_sats > 0, job

# What is refused has a code that the client knows.
refused = create_job.sync(client=client, body=NewJobBody(request=""))
assert isinstance(refused, ProblemBody) and refused.code in list(ProblemCode), refused

print(json.dumps(job.to_dict()))
