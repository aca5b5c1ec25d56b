"""RingCentral's API, seen from our side. Knows nothing of the rest of the house.

`models` (what its JSON means), `wire` (requests and answers as values), `multistatus` (answers about many
ids) and `protocol` (every request, answer and error) do no I/O; `transport` carries one request, `auth` keeps
the token, `client` puts them together. `ports` says what the house has to provide.
"""
