"""How many characters are kept of texts that RingCentral sends: the widths of their columns.

`app.db.tables` declares the columns with them, and code that reads RingCentral's data cuts to them. Ids have
`app.ids.MAX_OUTSIDE_ID`, whole numbers `app.values.storable.MAX_INTEGER`, times
`app.values.storable.EARLIEST` to `LATEST`. A test compares readers and columns.
"""

PHONE_NUMBER = 128
TEXT = 256
"""Any other text of an event: names, labels, enumerations."""

DIRECTION = 16
RESULT = 128
ACTION = 128
RECORDING_TYPE = 32
CONTENT_TYPE = 128
TRANSCRIPT_STATUS = 32
SUBSCRIPTION_STATUS = 32
TIME_ZONE = 64
"""An IANA name; the longest has about 30 characters."""
