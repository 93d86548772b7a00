"""ministack with four changes that bring it closer to AWS. Everything else is as installed.

Object versions in events: `_fire_s3_event` (ministack/services/s3.py) writes the version of an object to the
notifications for SNS, SQS and Lambda, but not to `detail.object` of the event for EventBridge. AWS does: Amazon S3 User
Guide, "EventBridge event message structure".

Fast schedules: `SFN_WAIT_SCALE` scales the waits of Step Functions, but not the rate of a schedule. Here it scales both,
since the shortest rate that a spec allows is half an hour.

Credentials by function: Lambda gives a function the credentials of its role; ministack gives every function the same.
Here the session token is the function's name, so that the gateway knows which function makes a call.

Alarms over several metrics: ministack refuses them. Here it keeps the first of their metrics, since nothing in these tests
causes an alarm.
"""

import json
import os
import threading

from ministack import app
from ministack.services import eventbridge, lambda_svc, s3
from ministack.services.cloudformation import provisioners

fired = threading.local()
fire, dispatch, rate = s3._fire_s3_event, eventbridge._dispatch_event, eventbridge._parse_rate_seconds
credentials = lambda_svc.execution_credentials
alarm_record = provisioners._cw_metric_alarm_record


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


def scaled_rate(expression):
    seconds = rate(expression)
    return seconds if seconds is None else seconds * float(os.environ["SFN_WAIT_SCALE"])


def credentials_of_the_function(config):
    return {**credentials(config), "AWS_SESSION_TOKEN": config["FunctionName"]}


def alarm_of_its_first_metric(name, properties):
    properties = dict(properties)
    for part in properties.pop("Metrics", None) or []:
        if "MetricStat" in part:
            metric = part["MetricStat"]
            properties |= metric["Metric"] | {"Statistic": metric["Stat"], "Period": metric["Period"]}
            break
    return alarm_record(name, properties)


provisioners._cw_metric_alarm_record = alarm_of_its_first_metric
lambda_svc.execution_credentials = credentials_of_the_function
s3._fire_s3_event, eventbridge._dispatch_event = fire_with_version, dispatch_with_version
eventbridge._parse_rate_seconds = scaled_rate

if __name__ == "__main__":
    app.main()
