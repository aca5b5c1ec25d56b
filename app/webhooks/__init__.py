"""What RingCentral sends us: from a notification to the end of a call.

The pure part reads from the outside in: `notification` decodes a delivery into `facts`, `parties` computes
a call from the set of its facts, `ending` judges whether it is over.
"""
