"""What RingCentral sends us: from a notification to the end of a call.

The pure part, in reading order: `payloads.notification` decodes a delivery into facts (`calls.evidence`),
`calls.evidence.parties` reads a call from the set of its facts, `folding.ending` decides whether it is over.
"""
