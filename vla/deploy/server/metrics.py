"""What a policy server counts, for Prometheus: `GET /metrics`.

rvq_requests_total{outcome}         answered, refused, failed, dropped (the client had gone)
rvq_errors_total{kind}              malformed, observation, policy, oversized, slow, busy, idle,
                                    key, browser
rvq_seconds{stage}                  histogram: queue, inference, total
rvq_batch_size                      histogram
rvq_bytes_total{direction}          in, out
rvq_clients, rvq_ready              now
"""

from __future__ import annotations

from http import HTTPStatus

from vla.deploy.server.access import Page

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
OUTCOMES = ("answered", "refused", "failed", "dropped")
ERRORS = (
    *("malformed", "observation", "policy", "oversized"),
    *("slow", "busy", "idle", "key", "browser"),
)


class Metrics:
    """In a registry of their own, so that several servers may live in one process."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = own = CollectorRegistry()
        self.requests = Counter("rvq_requests", "By how they ended", ["outcome"], registry=own)
        self.errors = Counter("rvq_errors", "What went wrong", ["kind"], registry=own)
        self.seconds = Histogram(
            "rvq_seconds", "Of requests", ["stage"], buckets=SECONDS, registry=own
        )
        self.batch = Histogram("rvq_batch_size", "Requests at once", buckets=BATCHES, registry=own)
        self.bytes = Counter("rvq_bytes", "Of messages", ["direction"], registry=own)
        self.clients = Gauge("rvq_clients", "Connected", registry=own)
        self.ready = Gauge("rvq_ready", "1 when the policy is warm", registry=own)
        self._begin_at_zero()

    def error(self, kind: str) -> None:
        """Count what went wrong."""
        self.errors.labels(kind).inc()

    def request(self, outcome: str) -> None:
        """Count how a request ended."""
        self.requests.labels(outcome).inc()

    def page(self) -> Page:
        """All of it, as Prometheus reads it."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        text = generate_latest(self._registry).decode()
        return Page(HTTPStatus.OK, text, CONTENT_TYPE_LATEST)

    def _begin_at_zero(self) -> None:
        """What has not happened yet is counted as 0 instead of missing."""
        for counter, labels in ((self.requests, OUTCOMES), (self.errors, ERRORS)):
            for label in labels:
                counter.labels(label)
        for label in ("in", "out"):
            self.bytes.labels(label)
        for label in ("queue", "inference", "total"):
            self.seconds.labels(label)
