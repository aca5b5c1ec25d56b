"""From the end of a call to its record, recordings and insights.

`polling` reads Active Calls, `call_log` reads the Call Log, and `records` applies what they return.
`recordings` and `insights` look up what follows later. What decides is pure; the workers claim due rows, send
requests within the rate limits and write the responses. No transaction is open during a request.
"""
