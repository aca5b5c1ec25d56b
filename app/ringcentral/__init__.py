"""RingCentral's API, seen from our side. It knows nothing of the rest of the service.

`models` (what its JSON means), `wire` (requests and responses as values) and `protocol` (every request,
response and error) do no I/O. `transport` carries one request, `auth` manages the token, `sending` retries,
and `client` offers it all. `ports` defines what the service must provide.
"""
