"""The audit for people: GET /v1/audit."""
