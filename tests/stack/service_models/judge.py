"""Holds requests and answers of rehearsals against AWS's own service models, which botocore contains.

    judge.py EXCHANGES

Reads one exchange a line (simulator/src/exchange.rs) and prints a report as JSON: how many requests, answers and error
codes were judged, how often each operation, what is wrong, and what could not be judged.
"""

import collections
import json
import sys

import botocore.parsers
import botocore.session
import regex
from dateutil import parser as dates

from exceptions import ANSWERS, COMMON, RANDOM_TOKENS, UNDECLARED, UNMODELLED
from wire import MODEL_NAMES, Wire

SESSION = botocore.session.get_session()

# The members by which AWS recognises a repeated call, where the models do not mark them.
TOKENS = ("clienttoken", "clientrequesttoken", "idempotencytoken")
# A random UUID, as the SDK makes them: of any variant.
RANDOM = regex.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Judge:
    def __init__(self):
        self.judged = collections.Counter()
        self.operations = collections.Counter()
        self.wrong = {}
        self.unjudged = collections.Counter()
        self.excused = set()
        self.models = {}

    def report(self):
        unneeded = [f"{entry} is not needed in exceptions.py" for entry in [*UNDECLARED, *UNMODELLED, *ANSWERS, *RANDOM_TOKENS] if entry not in self.excused]
        return {
            "judged": self.judged, "operations": self.operations, "wrong": sorted(self.wrong.values()) + unneeded,
            "unjudged": [f"{what} ({count})" for what, count in sorted(self.unjudged.items())],
        }

    def model(self, service):
        if service not in self.models:
            self.models[service] = SESSION.get_service_model(MODEL_NAMES.get(service, service))
        return self.models[service]

    def take(self, exchange):
        name = f"{exchange['service']}:{exchange['operation']}"
        service = self.model(exchange["service"])
        if exchange["operation"] not in service.operation_names:
            self.complain(name, "request", "", "the service has no such operation", "")
            return
        operation = service.operation_model(exchange["operation"])
        self.request(name, Wire(exchange, service, operation), exchange)
        self.answer(name, Wire(exchange, service, operation), exchange)
        self.operations[name] += 1

    def request(self, name, wire, exchange):
        # A request that was refused for its form may be wrong: that is what the refusal says.
        value = wire.request()
        found = list(wire.problems)
        if value is not None and wire.operation.input_shape:
            found += self.problems(wire.operation.input_shape, value, "")
            found += self.tokens(name, wire.operation.input_shape, value)
        refused = exchange["status"] >= 400
        for path, what in found:
            self.complain(name, "refused request" if refused else "request", path, what, exchange["body"])
        self.judged["requests"] += 1

    def tokens(self, name, shape, value):
        """The SDK puts a random token into a request that has none: a call that is repeated after its answer was lost would then
        create a second resource."""
        creates = name.split(":")[1].startswith(("Create", "Run", "Request", "Rotate"))
        # Stackdrop tags what it creates; a person in a rehearsal may not.
        if creates and "TagSpecifications" in shape.members and not any(key.startswith("TagSpecification") for key in value):
            return
        for member, of in shape.members.items():
            if not of.metadata.get("idempotencyToken") and member.lower() not in TOKENS:
                continue
            token = value.get(of.serialization.get("name", member), value.get(member))
            if (token is None and creates) or (token and RANDOM.fullmatch(token)):
                if name not in RANDOM_TOKENS:
                    yield member, f"{token} is random" if token else "has no token"
                self.excused.add(name)

    def answer(self, name, wire, exchange):
        if exchange["status"] >= 300:
            self.refusal(name, wire, exchange)
            return
        wanted = wire.operation.http.get("responseCode", 200)
        if wire.protocol.startswith("rest") and exchange["status"] != wanted:
            self.complain(name, "answer", "", f"the status is {exchange['status']}, not {wanted}", "")
        value = wire.answer()
        found = list(wire.problems)
        if wire.operation.output_shape:
            found += self.problems(wire.operation.output_shape, value, "")
            self.parse(wire, exchange, wire.operation.output_shape)
        for path, what in found:
            excuse = next((key for key in ((name, path), (exchange["service"], path)) if key in ANSWERS), None)
            if excuse:
                self.excused.add(excuse)
            else:
                self.complain(name, "answer", path, what, exchange["answer"])
        self.judged["answers"] += 1

    def parse(self, wire, exchange, shape):
        """botocore's own parser must be able to read the answer."""
        parser = botocore.parsers.create_parser(wire.protocol)
        body = b"" if exchange["method"] == "HEAD" else exchange["answer"].encode()
        headers = botocore.compat.HTTPHeaders.from_pairs(exchange["answer_headers"])
        return parser.parse({"status_code": exchange["status"], "headers": headers, "body": body}, shape)

    def refusal(self, name, wire, exchange):
        if exchange["method"] == "HEAD" or exchange["status"] == 304:
            self.unjudged[f"{name}: an answer without a body has no error code"] += 1
            return
        code = self.parse(wire, exchange, wire.operation.output_shape)["Error"]["Code"]
        self.judged["error codes"] += 1
        declared = {shape.error_code: shape.metadata.get("error", {}) for shape in wire.operation.error_shapes}
        if code in declared:
            status = declared[code].get("httpStatusCode")
            # Services with AWS JSON answer every error of the caller with 400, whatever the model says.
            if status and status != exchange["status"] and wire.protocol != "json":
                self.complain(name, "answer", "", f"{code} has the status {exchange['status']}, not {status}", "")
        elif (exchange["service"], code) in UNDECLARED:
            self.excused.add((exchange["service"], code))
        elif exchange["service"] in UNMODELLED:
            self.excused.add(exchange["service"])
            self.unjudged[f"{exchange['service']} declares no error codes: {code}"] += 1
        elif code not in COMMON:
            self.complain(name, "answer", "", f"the operation does not declare the error {code}", exchange["answer"])

    def problems(self, shape, value, path):
        """What a value has that its shape does not allow, as (path, text)."""
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, value, path)
        if kind == "list":
            found = self.length(shape, value, path, "elements")
            return found + [each for item in value for each in self.problems(shape.member, item, f"{path}[]")]
        if kind == "map":
            found = self.length(shape, value, path, "entries")
            for key, item in value.items():
                found += self.problems(shape.key, key, f"{path} (key)") + self.problems(shape.value, item, f"{path}.*")
            return found
        if kind == "string":
            return self.string(shape, value, path)
        if kind in ("integer", "long", "float", "double"):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return [(path, f"{value!r} is no {kind}")]
            low, high = shape.metadata.get("min"), shape.metadata.get("max")
            outside = (low is not None and value < low) or (high is not None and value > high)
            return [(path, f"{value} is not within {low} and {high}")] if outside else []
        if kind == "boolean":
            return [] if isinstance(value, bool) else [(path, f"{value!r} is no boolean")]
        if kind == "timestamp" and isinstance(value, str):
            try:
                dates.parse(value)
            except (ValueError, OverflowError):
                return [(path, f"{value!r} is no time")]
        return []

    def structure(self, shape, value, path):
        if not isinstance(value, dict):
            return [(path, f"{value!r} is no structure")]
        found = [(f"{path}.{name}".strip("."), "is required") for name in shape.required_members if value.get(name) is None]
        wires = {member.serialization.get("name", name): name for name, member in shape.members.items()}
        for key, item in value.items():
            name = key if key in shape.members else wires.get(key)
            here = f"{path}.{key}".strip(".")
            if name is None:
                found.append((here, "no such member"))
            elif item is not None:
                found += self.problems(shape.members[name], item, here)
        return found

    def string(self, shape, value, path):
        if not isinstance(value, str):
            return [(path, f"{value!r} is no text")]
        found = self.length(shape, value, path, "characters")
        if shape.enum and value not in shape.enum:
            found.append((path, f"{value!r} is none of the enumeration"))
        pattern = shape.metadata.get("pattern")
        if pattern and not self.matches(pattern, value):
            found.append((path, f"{value!r} does not match {pattern}"))
        return found

    def matches(self, pattern, value):
        # Java writes the characters beyond the basic plane as surrogates.
        plain = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
        try:
            return regex.fullmatch(plain, value) is not None
        except regex.error as error:
            self.unjudged[f"the pattern {pattern}: {error}"] += 1
            return True

    @staticmethod
    def length(shape, value, path, what):
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        count = len(value)
        outside = (low is not None and count < low) or (high is not None and count > high)
        return [(path, f"{count} {what} are not within {low} and {high}")] if outside else []

    def complain(self, name, side, path, what, wire):
        """Keeps the first example of each kind of mistake."""
        key = (name, side, path, regex.sub(r"'[^']*'|\d+", "#", what))
        self.wrong.setdefault(key, f"{name} {side} {path}: {what}; {wire[:300]}")


def main():
    judge = Judge()
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            judge.take(json.loads(line))
    json.dump(judge.report(), sys.stdout)


main()
