"""Prometheus rules and a Grafana dashboard for Aftercall; docs/metrics.md says how to start them."""
