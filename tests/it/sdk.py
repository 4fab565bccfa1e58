"""What an application does with Twilio's own SDK, and what it gets. Prints one JSON object."""

import json
import os

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

ACCOUNT, TOKEN, SIMULATOR = (os.environ[name] for name in ("ACCOUNT", "TOKEN", "SIMULATOR"))


class Simulator(TwilioHttpClient):
    """The SDK insists on https://api.twilio.com; everything else is left to it."""

    def request(self, method, url, *args, **kwargs):
        return super().request(method, url.replace("https://api.twilio.com", SIMULATOR), *args, **kwargs)


def client(token=TOKEN):
    return Client(ACCOUNT, token, http_client=Simulator())


def error(call):
    try:
        call()
    except TwilioRestException as refused:
        return {"status": refused.status, "code": refused.code, "msg": refused.msg}
    raise AssertionError("Twilio would have refused this")


twilio = client()
otp = {"from_": "+15557122661", "body": "Your code is 123456", "provide_feedback": True}
created = twilio.messages.create(to="+15558675310", **otp)
fetched = twilio.messages(created.sid).fetch()
feedback = twilio.messages(created.sid).feedback.create(outcome="confirmed")
unchanged = twilio.messages(created.sid).feedback.create()
listed = [message.sid for message in twilio.messages.list(limit=5)]
never_sent = "SM" + "0" * 32

print(
    json.dumps(
        {
            "created": {"sid": created.sid, "status": created.status, "date": created.date_created.isoformat()},
            "fetched": {"status": fetched.status, "subresources": sorted(fetched.subresource_uris)},
            "feedback": {
                "message_sid": feedback.message_sid,
                "outcome": feedback.outcome,
                "updated": feedback.date_updated.isoformat(),
            },
            "unchanged": unchanged.outcome,
            "listed": listed,
            "errors": {
                "wrong token": error(lambda: client("wrong").messages(created.sid).feedback.create()),
                "never sent": error(lambda: twilio.messages(never_sent).feedback.create(outcome="confirmed")),
                "bad outcome": error(lambda: twilio.messages(created.sid).feedback.create(outcome="converted")),
                "no recipient": error(lambda: twilio.messages.create(to="", **otp)),
                "bad recipient": error(lambda: twilio.messages.create(to="+15005550001", **otp)),
                "throttled": error(lambda: twilio.messages(os.environ["THROTTLED"]).feedback.create("confirmed")),
            },
            "deleted": twilio.messages(created.sid).delete(),
            "gone": error(lambda: twilio.messages(created.sid).fetch()),
        }
    )
)
