"""Reads requests and answers by a service's model, whatever the protocol: into plain values, or a problem for each mistake."""

import json
import re
import urllib.parse
from xml.etree import ElementTree

# The names of botocore's models, where they differ from the service's signing name.
MODEL_NAMES = {"elasticloadbalancing": "elbv2", "servicequotas": "service-quotas", "states": "stepfunctions"}


class Wire:
    """One exchange, with the model of its operation. `problems` collects (path, what is wrong)."""

    def __init__(self, exchange, service, operation):
        self.exchange, self.service, self.operation = exchange, service, operation
        self.protocol = service.metadata["protocol"]
        self.problems = []

    def wrong(self, path, what):
        self.problems.append((path, what))

    # ---- requests

    def request(self):
        """The parameters of the request."""
        shape = self.operation.input_shape
        if self.protocol in ("query", "ec2"):
            form = dict(urllib.parse.parse_qsl(self.exchange["body"], keep_blank_values=True))
            if form.pop("Action", None) != self.operation.name or form.pop("Version", None) != self.service.api_version:
                self.wrong("", "Action and Version are not the operation's")
            value = self.from_form(shape, form, "") if shape else {}
            for key in form:
                self.wrong(key, "no such parameter")
            return value
        if self.protocol == "json":
            target = f"{self.service.metadata['targetPrefix']}.{self.operation.name}"
            if self.header("headers", "x-amz-target") != target:
                self.wrong("", "X-Amz-Target is not the operation's")
            return json.loads(self.exchange["body"] or "{}")
        return self.from_rest(shape)

    def from_form(self, shape, form, prefix):
        """The value at a prefix of a form. Takes what it reads out of the form."""
        def below(prefix):
            return any(key.startswith(prefix + ".") for key in form)

        if shape.type_name == "structure":
            value = {}
            for name, member in shape.members.items():
                key = f"{prefix}.{self.form_name(name, member)}" if prefix else self.form_name(name, member)
                if key in form or below(key):
                    value[name] = self.from_form(member, form, key)
            return value
        if shape.type_name == "list":
            if form.get(prefix) == "":
                del form[prefix]
                return []
            flat = self.protocol == "ec2" or shape.serialization.get("flattened")
            step = prefix if flat else f"{prefix}.{shape.member.serialization.get('name', 'member')}"
            values, number = [], 1
            while f"{step}.{number}" in form or below(f"{step}.{number}"):
                values.append(self.from_form(shape.member, form, f"{step}.{number}"))
                number += 1
            return values
        if shape.type_name == "map":
            step = prefix if shape.serialization.get("flattened") else f"{prefix}.entry"
            key_name = shape.key.serialization.get("name", "key")
            value_name = shape.value.serialization.get("name", "value")
            value, number = {}, 1
            while f"{step}.{number}.{key_name}" in form:
                key = form.pop(f"{step}.{number}.{key_name}")
                value[key] = self.from_form(shape.value, form, f"{step}.{number}.{value_name}")
                number += 1
            return value
        return self.scalar(shape, form.pop(prefix, None), prefix)

    def form_name(self, name, member):
        if self.protocol == "ec2":
            if "queryName" in member.serialization:
                return member.serialization["queryName"]
            location = member.serialization.get("name")
            return location[0].upper() + location[1:] if location else name
        # A flattened list has the name of its members (botocore/serialize.py, `QuerySerializer`).
        if member.type_name == "list" and member.serialization.get("flattened"):
            return member.member.serialization.get("name") or member.serialization.get("name", name)
        return member.serialization.get("name", name)

    def from_rest(self, shape):
        value, body_members = {}, {}
        path = self.rest_path()
        template, _, fixed = self.operation.http["requestUri"].partition("?")
        pattern = re.escape(template.rstrip("/"))
        pattern = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", pattern)
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern)
        # Whether a path ends with a slash differs between the SDKs' models; AWS takes both.
        matched = re.fullmatch(pattern + "/?", path)
        if self.exchange["method"] != self.operation.http["method"] or not matched:
            self.wrong("", f"{self.exchange['method']} {path} is not {self.operation.http}")
            return None
        query = dict(map(tuple, self.exchange["query"]))
        for key, wanted in urllib.parse.parse_qsl(fixed, keep_blank_values=True):
            if query.pop(key, None) != wanted:
                self.wrong(key, f"the query string lacks {fixed}")
        # The AWS SDK for Rust names the operation in `x-id`, as S3's model does for other SDKs.
        query.pop("x-id", None)
        for name, member in (shape.members if shape else {}).items():
            location, wire = member.serialization.get("location"), member.serialization.get("name", name)
            found = None
            if location == "uri":
                found = urllib.parse.unquote(matched.group(wire))
            elif location == "querystring":
                found = query.pop(wire, None)
            elif location == "header":
                found = self.header("headers", wire)
            elif location != "headers":
                body_members[name] = member
            if found is not None:
                value[name] = self.scalar(member, found, name)
        for key in query:
            self.wrong(key, "no such parameter in the query string")
        value.update(self.rest_body(shape, body_members, self.exchange["body"]))
        return value

    def rest_path(self):
        host = self.header("headers", "host") or ""
        bucket = re.match(r"(.+)\.s3[.-]", host)
        return f"/{bucket.group(1)}{self.exchange['path']}" if bucket and self.service.service_name == "s3" else self.exchange["path"]

    def rest_body(self, shape, members, body):
        payload = shape.serialization.get("payload") if shape else None
        if payload and shape.members[payload].type_name != "structure":
            return {payload: body}
        if not body:
            return {}
        if self.protocol == "rest-json":
            read = json.loads(body)
            return {payload: read} if payload else read
        element = ElementTree.fromstring(body)
        if payload:
            return {payload: self.from_xml(shape.members[payload], element, payload)}
        return self.structure_from_xml(members, element, "")

    def header(self, side, name):
        return next((value for key, value in self.exchange[side] if key.lower() == name.lower()), None)

    # ---- answers

    def answer(self):
        """The value of a successful answer."""
        shape, body = self.operation.output_shape, self.exchange["answer"]
        if self.protocol == "json":
            return json.loads(body or "{}")
        if self.protocol in ("query", "ec2"):
            root = ElementTree.fromstring(body)
            if tag(root) != f"{self.operation.name}Response":
                self.wrong("", f"the root element is {tag(root)}")
            if self.protocol == "query":
                named = shape.serialization.get("resultWrapper") if shape else None
                root = next((child for child in root if tag(child) == (named or f"{self.operation.name}Result")), None)
                if root is None:
                    self.wrong("", f"no element {named}")
                    return {}
            else:
                for child in [child for child in root if tag(child) == "requestId"]:
                    root.remove(child)
            return self.from_xml(shape, root, "") if shape else self.nothing(root)
        value, members = {}, {}
        for name, member in (shape.members if shape else {}).items():
            if member.serialization.get("location") == "header":
                found = self.header("answer_headers", member.serialization["name"])
                if found is not None:
                    value[name] = self.scalar(member, found, name)
            elif not member.serialization.get("location"):
                members[name] = member
        if self.exchange["method"] != "HEAD":
            value.update(self.rest_body(shape, members, body))
        return value

    def nothing(self, root):
        for child in root:
            self.wrong(tag(child), "no such member")
        return {}

    def from_xml(self, shape, element, path):
        if shape.type_name == "structure":
            return self.structure_from_xml(shape.members, element, path)
        if shape.type_name == "list":
            wanted = shape.member.serialization.get("name", "member")
            for child in element:
                if tag(child) != wanted:
                    self.wrong(f"{path}.{tag(child)}", f"the list's elements are {wanted}")
            return [self.from_xml(shape.member, child, f"{path}[]") for child in element]
        if shape.type_name == "map":
            value = {}
            for entry in element:
                parts = {tag(child): child for child in entry}
                key = parts[shape.key.serialization.get("name", "key")].text
                value[key] = self.from_xml(shape.value, parts[shape.value.serialization.get("name", "value")], f"{path}.{key}")
            return value
        return self.scalar(shape, element.text or "", path)

    def structure_from_xml(self, members, element, path):
        value, by_tag = {}, {}
        for name, member in members.items():
            flat = member.type_name == "list" and member.serialization.get("flattened")
            wire = (member.member.serialization.get("name") if flat else None) or member.serialization.get("name", name)
            by_tag[wire] = (name, member, flat)
        for child in element:
            if tag(child) not in by_tag:
                self.wrong(f"{path}.{tag(child)}".strip("."), "no such member")
                continue
            name, member, flat = by_tag[tag(child)]
            here = f"{path}.{name}".strip(".")
            if flat:
                value.setdefault(name, []).append(self.from_xml(member.member, child, f"{here}[]"))
            elif name in value:
                self.wrong(here, "appears twice")
            else:
                value[name] = self.from_xml(member, child, here)
        return value

    def scalar(self, shape, text, path):
        if shape.type_name in ("integer", "long", "float", "double"):
            try:
                return float(text) if shape.type_name in ("float", "double") else int(text)
            except ValueError:
                self.wrong(path, f"{text!r} is no {shape.type_name}")
                return None
        if shape.type_name == "boolean":
            if text not in ("true", "false"):
                self.wrong(path, f"{text!r} is no boolean")
            return text == "true"
        return text


def tag(element):
    return element.tag.rsplit("}", 1)[-1]
