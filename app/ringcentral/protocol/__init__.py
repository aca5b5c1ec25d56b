"""RingCentral's API as pure functions: no input or output, no clock.

Builders return a `Request`. The `decode_…` functions read the successful `Response` to the matching request,
and raise RingCentralUnreachable if it cannot be used; `errors.decode_error` makes the error of any other
response.

Facts come from RingCentral's guides ("Rate limits", "Errors", "Finding active calls", "Call log", "Batch
requests", "Creating webhooks", "JWT flow") and its API description 1.0.46.
"""
