"""Makes the bodies of deliveries small: deflated with a dictionary of what nearly all of them say.

A single body is too short for a compressor to learn from, and all of them have the same names in the same
order: with those given, a body of 1.5 KB takes 330 bytes instead of 710. A packed body begins with a mark
that no JSON has, so bodies that were stored as they came are still read.

`_WORDS` may never change: what was packed with it is unpacked with it. A better one needs a mark of its own.
No I/O.
"""

import zlib

_MARK = b"\x00z1"

_WINDOW_BITS = -12
"""Without a header and a checksum, with a window of 4 KB."""

_MEMORY = 5
"""As little as is enough for such short texts: clearing more memory would take longer than deflating."""

_LEVEL = 6
_LONGEST_BYTES = 64 * 2**20
"""A longer body stays as it is, and nothing is unpacked to more than this."""

# The names and values of RingCentral's event payloads (guide "Subscription filters", "Telephony sessions
# event" and "Detailed presence event"). What is most frequent comes last: it is cheapest to refer to.
_WORDS = (
    b'"allowSeeMyPresence":true,"ringOnMonitoredCall":false,"pickUpCallsOnHold":false,'
    b'"dndStatus":"TakeAllCalls","userStatus":"Available","presenceStatus":"Available",'
    b'"presenceStatus":"Busy","meetingStatus":"NoMeeting","telephonyStatus":"NoCall",'
    b'"telephonyStatus":"CallConnected","telephonyStatus":"Ringing","telephonyStatus":"OnHold",'
    b'"totalActiveCalls":1,"activeCalls":[{"id":"","direction":"Inbound","queueCall":false,"from":"+1",'
    b'"fromName":"","to":"+1","toName":"","startTime":"20"terminationType":"final",'
    b'"terminationType":"intermediate","onBehalfOf":"","callInfo":{},"extensionNumber":"","reason":"",'
    b'"description":"","peerId":{"sessionId":"","telephonySessionId":"s-","partyId":"p-"},'
    b'"reason":"BlindTransfer","reason":"AttendedTransfer","reason":"Pickup",'
    b'"reason":"Voicemail""ringOutRole":"Initiator","ringMeRole":"Initiator","permission":"",'
    b'"optionalData":"","parkData":"","owner":{"location":"","queueCall":true,"missedCall":true,'
    b'"standAlone":true,"muted":true,"active":true}],"conferenceRole":"Host",'
    b'"origin":{"type":"RingOut"}}}"origin":{"type":"Conference"}}}"code":"Gone","code":"Parked",'
    b'"code":"VoiceMail","code":"VoiceMailScreening","code":"Hold","code":"Proceeding",'
    b'"code":"Answered","code":"Disconnected",{"uuid":"",'
    b'"event":"/restapi/v1.0/account//extension//presence?detailedTelephonyState=true&sipData=true",'
    b'{"uuid":"","event":"/restapi/v1.0/account//telephony/sessions",'
    b'"timestamp":"2026-01-01T00:00:00.000Z","subscriptionId":"","ownerId":"","body":{"sequence":1,'
    b'"sessionId":"","telephonySessionId":"s-az0000","serverId":"10..TAM",'
    b'"eventTime":"2026-01-01T00:00:00.000Z","parties":[{"accountId":"","extensionId":"",'
    b'"id":"p-az0000-1","direction":"Outbound","direction":"Inbound","from":{"phoneNumber":"+1",'
    b'"name":""},"to":{"phoneNumber":"+1","name":"","extensionId":""},"status":{"code":"Setup",'
    b'"rcc":false},"park":{},"missedCall":false,"standAlone":false,"muted":false,"queueCall":false,'
    b'"recordings":[{"id":"","active":false}],"conferenceRole":"Participant",'
    b'"uiCallInfo":{"primary":{"type":"QueueName","value":""},"primary":{"type":"CallerIdName",'
    b'"value":""},"additional":{"type":"CallerIdNumber","value":"+1"}},'
    b'"mobilePickupData":{"ccMailboxes":[""],"to":"+1","sid":"","srvLvl":"-149699523",'
    b'"srvLvlExt":"406"},"device":{"id":"","model":""},"sipData":{"toTag":"10.-","fromTag":"10.",'
    b'"remoteUri":"sip:+1@10.:5060;transport=tls","localUri":"sip:+1@10.:5060;transport=tls"}}],'
    b'"origin":{"type":"Call"}}}'
)


def pack_body(body: bytes) -> bytes:
    """Return the body as it is stored once it was read: packed, if that makes it shorter."""
    if len(body) > _LONGEST_BYTES:
        return body
    packer = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, zdict=_WORDS
    )
    packed = _MARK + packer.compress(body) + packer.flush()
    # A body that happens to begin with the mark is packed in any case, or it would be unpacked later.
    return packed if len(packed) < len(body) or body.startswith(_MARK) else body


def unpack_body(stored: bytes) -> bytes:
    """Undo `pack_body`. What is not packed is returned as it is."""
    if not stored.startswith(_MARK):
        return stored
    unpacker = zlib.decompressobj(_WINDOW_BITS, zdict=_WORDS)
    try:
        body = unpacker.decompress(stored[len(_MARK) :], _LONGEST_BYTES)
    except zlib.error:
        return stored
    return body if unpacker.eof and not unpacker.unused_data else stored
