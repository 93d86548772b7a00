"""ministack, with what its S3 leaves out of EventBridge's events.

Its `_fire_s3_event` (ministack/services/s3.py) is given the version of an object in a versioned bucket and puts it into
SNS's, SQS's and Lambda's notifications, but not into `detail.object` of the event for EventBridge. AWS does: Amazon S3
User Guide, "EventBridge event message structure". Everything else is as installed.
"""

import json
import threading

from ministack import app
from ministack.services import eventbridge, s3

fired = threading.local()
fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event


def fire_with_version(*arguments, version_id=None, **more):
    fired.version = version_id
    try:
        return fire(*arguments, version_id=version_id, **more)
    finally:
        fired.version = None


def dispatch_with_version(event, *more, **named):
    version = getattr(fired, "version", None)
    if version and event.get("Source") == "aws.s3":
        detail = json.loads(event["Detail"])
        detail["object"].setdefault("version-id", version)
        event = {**event, "Detail": json.dumps(detail)}
    return dispatch(event, *more, **named)


s3._fire_s3_event, eventbridge._dispatch_event = fire_with_version, dispatch_with_version

if __name__ == "__main__":
    app.main()
