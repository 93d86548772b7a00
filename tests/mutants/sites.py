"""Finds the places in Rust files where a mutation fits.

A mutation keeps the original beside it: `if on { mutated } else { original }`. The switch is chosen when the tests run, so one
build serves all mutants. Nothing is mutated in tests, constants, patterns, attributes, macros, formatting (`fmt`), and texts
that only people read (they contain a space), and in comparisons with the current time.
"""

from dataclasses import dataclass

import tree_sitter_rust
from tree_sitter import Language, Node, Parser

PARSER = Parser(Language(tree_sitter_rust.language()))

# Stands for the switch in the code of a site; the build puts `crate::mutant::on(NUMBER)` in its place.
ON = "\x00"


@dataclass(frozen=True)
class Site:
    """A place and its mutation. `start` and `end` are bytes; `was` and `now` are for people."""

    file: str
    line: int
    start: int
    end: int
    kind: str
    was: str
    now: str
    code: str


# What these contain is not mutated.
SKIPPED = {"attribute_item", "inner_attribute_item", "const_item", "static_item", "macro_definition", "line_comment",
           "block_comment", "enum_item", "struct_item", "type_item", "use_declaration", "where_clause", "type_arguments"}

OPPOSITE = {"&&": "||", "||": "&&", "==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}

# The current time. Whether something ends at a moment or a nanosecond after it, nobody can notice.
NOW = ("now", "clock()")

# Methods whose closure selects.
SELECTS = {"filter", "any", "all", "find", "position", "retain", "take_while", "skip_while", "is_some_and", "is_none_or",
           "is_ok_and", "partition"}

# Methods that complete a chain or convert a value: without them, the code would not compile or mean the same.
NO_SETTINGS = {"doing", "unless", "deleted", "map", "map_err", "map_or", "map_or_else", "and_then", "then", "then_some", "ok_or",
               "ok_or_else", "or_else", "unwrap_or", "unwrap_or_else", "fold", "collect", "zip", "get", "contains", "config_override",
               "push_str", "join", "filter_map", "flat_map", "for_each", "expect", "context", "with_context", "contains_key",
               "starts_with", "ends_with", "insert", "remove", "eq", "cmp", "split_once", "strip_prefix", "strip_suffix", "pending_on",
               "stalled_on", "page_size", "take", "skip", "chain", "rev"}

# Calls whose texts are only for people.
FOR_PEOPLE = {"doing", "expect", "context", "with_context", "pending", "pending_on", "stalled", "stalled_because", "stalled_on",
              "Defect", "panic"}

# The value that a function returns at once instead of working.
NOTHING = [("Result<()", ["Ok(())"]), ("Result<bool", ["Ok(true)", "Ok(false)"]), ("Result<Option<", ["Ok(None)"]),
           ("Result<Vec<", ["Ok(Vec::new())"]), ("Option<", ["None"]), ("Vec<", ["Vec::new()"]), ("bool", ["true", "false"]),
           ("String", ["String::new()"]), ("usize", ["0"]), ("u32", ["0"]), ("i32", ["0"])]


def sites(file: str, source: bytes) -> list[Site]:
    """All sites of a file, in the order of the file."""
    finder = Finder(file, source)
    finder.visit(PARSER.parse(source).root_node)
    return sorted(finder.found, key=lambda site: (site.start, site.end, site.kind, site.now))


def has_syntax_error(source: bytes) -> bool:
    return PARSER.parse(source).root_node.has_error


def name_of_call(call: Node) -> str:
    """The last part of a call's function: `send` of `call.send()`, `new` of `Refusal::new(…)`."""
    function = call.child_by_field_name("function")
    part = function.child_by_field_name("field") or function.child_by_field_name("name") or function
    return part.text.decode()


def is_test(node: Node) -> bool:
    """Whether an item has `#[cfg(test)]` or `#[test]`."""
    previous = node.prev_named_sibling
    while previous is not None and previous.type in ("attribute_item", "line_comment"):
        if previous.type == "attribute_item" and b"test" in previous.text:
            return True
        previous = previous.prev_named_sibling
    return False


class Finder:
    """Collects the sites of one file."""

    def __init__(self, file: str, source: bytes):
        self.file, self.source, self.lines, self.found = file, source, source.splitlines(), []

    def text(self, node: Node) -> str:
        return self.source[node.start_byte:node.end_byte].decode()

    def add(self, node: Node, kind: str, now: str, code: str) -> None:
        line, was = node.start_point[0] + 1, self.text(node)
        if kind != "element" and kind != "page" and node.start_point[0] == node.end_point[0]:
            whole = self.lines[line - 1]
            before, after = whole[:node.start_point[1]].decode(), whole[node.end_point[1]:].decode()
            was, now = (before + was + after).strip(), (before + now + after).strip()
        self.found.append(Site(self.file, line, node.start_byte, node.end_byte, kind, was, now, code))

    def either(self, node: Node, kind: str, now: str) -> None:
        """The mutated expression or the original one."""
        self.add(node, kind, now, f"(if {ON} {{ {now} }} else {{ {self.text(node)} }})")

    def visit(self, node: Node) -> None:
        if node.type in SKIPPED or node.type.endswith("_pattern") and node.type != "match_pattern":
            return
        if node.type in ("mod_item", "function_item", "impl_item") and is_test(node):
            return
        if node.type == "function_item" and not self.function(node):
            return
        if node.type == "macro_invocation":
            self.macro(node)
            return
        visitor = getattr(self, node.type, None)
        if visitor:
            visitor(node)
        for child in node.named_children:
            if node.type == "match_pattern" and child != node.child_by_field_name("condition"):
                continue
            if node.type == "let_condition" and child == node.child_by_field_name("pattern"):
                continue
            self.visit(child)

    def function(self, node: Node) -> bool:
        """Adds the function that returns at once. False if nothing in the function is mutated."""
        modifiers = [child.text.decode() for child in node.children if child.type == "function_modifiers"]
        name, body = self.text(node.child_by_field_name("name")), node.child_by_field_name("body")
        if any("const" in modifier for modifier in modifiers) or name in ("fmt", "main"):
            return False
        returns = node.child_by_field_name("return_type")
        kind = self.text(returns) if returns else ""
        values = [""] if not kind else next((values for start, values in NOTHING if kind.startswith(start)), [])
        for value in values:
            returned = f"return {value};".replace(" ;", ";")
            line, start = node.start_point[0] + 1, body.start_byte + 1
            was = f"fn {name}(…) {{ … }}"
            self.found.append(Site(self.file, line, start, start, "body", was, f"fn {name}(…) {{ {returned} }}",
                                   f" if {ON} {{ {returned} }} "))
        return True

    def macro(self, node: Node) -> None:
        """`vec![…]` without one of its elements."""
        tokens = next((child for child in node.children if child.type == "token_tree"), None)
        if self.text(node.child_by_field_name("macro")) != "vec" or tokens is None:
            return
        inner = tokens.children[1:-1]
        if not inner or any(token.type == ";" for token in inner):
            return
        commas = [token for token in inner[:-1] if token.type == ","]
        for index in {0, len(commas)}:
            code = f"{{ let mut list = {self.text(node)}; if {ON} {{ list.remove({index}); }} list }}"
            self.add(node, "element", f"{self.text(node)} without element {index}", code)

    # ------------------------------------------------------------------ conditions

    def condition(self, node: Node | None) -> None:
        """The opposite of a condition without `let`."""
        if node is not None and node.type not in ("let_condition", "let_chain"):
            text = self.text(node)
            self.add(node, "negate", f"!({text})", f"(({text}) != {ON})")

    def if_expression(self, node: Node) -> None:
        self.condition(node.child_by_field_name("condition"))

    def match_pattern(self, node: Node) -> None:
        self.condition(node.child_by_field_name("condition"))

    def binary_expression(self, node: Node) -> None:
        operator = self.text(node.child_by_field_name("operator"))
        if operator not in OPPOSITE:
            return
        left, right = (self.text(node.child_by_field_name(side)) for side in ("left", "right"))
        now = f"{left} {OPPOSITE[operator]} {right}"
        if operator.strip("=") in ("<", ">") and any(side.endswith(NOW) for side in (left, right)):
            return
        if operator in ("==", "!="):
            self.add(node, "equal", now, f"(({self.text(node)}) != {ON})")
        else:
            self.either(node, "and-or" if operator in ("&&", "||") else "compare", now)

    def boolean_literal(self, node: Node) -> None:
        if node.parent.type not in ("arguments", "field_initializer", "match_arm", "block", "closure_expression"):
            return
        text = self.text(node)
        self.add(node, "flag", "false" if text == "true" else "true", f"({text} != {ON})")

    # ------------------------------------------------------------------ calls

    def call_expression(self, node: Node) -> None:
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        name, arguments = name_of_call(node), arguments.named_children
        if function.type != "field_expression":
            return
        receiver = function.child_by_field_name("value")
        if name in SELECTS and len(arguments) == 1 and arguments[0].type == "closure_expression":
            body = arguments[0].child_by_field_name("body")
            self.add(body, "select", "true", f"({ON} || ({self.text(body)}))")
        if name == "send" and ("into_paginator" in self.text(receiver) or self.text(receiver) == "pages"):
            self.add(node, "page", f"{self.text(node)}, only the first page", f"crate::mutant::first_page({ON}, {self.text(node)})")
        self.setting(node, receiver, name, arguments)
        if receiver.type == "array_expression" and name in ("into_iter", "iter"):
            self.elements(node, receiver, f".skip(usize::from({ON}))", f".take(LENGTH - usize::from({ON}))")

    def setting(self, node: Node, receiver: Node, name: str, arguments: list[Node]) -> None:
        """A chain of a builder without one of its settings."""
        is_chain = receiver.type == "call_expression" and self.file.startswith("functions/")
        no_values = any(argument.type in ("closure_expression", "async_block") for argument in arguments)
        if not is_chain or not arguments or no_values or name in NO_SETTINGS | SELECTS:
            return
        shown = ", ".join(self.text(argument) for argument in arguments)
        code = f"(if {ON} {{ {self.text(receiver)} }} else {{ {self.text(node)} }})"
        line = function_line(node)
        self.found.append(Site(self.file, line, node.start_byte, node.end_byte, "setting", f".{name}({shown})", "(left out)", code))

    def expression_statement(self, node: Node) -> None:
        inner = node.named_children[0]
        if inner.type in ("call_expression", "await_expression", "try_expression", "assignment_expression",
                          "compound_assignment_expr") and "tracing::" not in self.text(node)[:12]:
            self.add(node, "statement", "// left out", f"if !{ON} {{ {self.text(node)} }}")

    # ------------------------------------------------------------------ values and lists

    def string_literal(self, node: Node) -> None:
        text = self.text(node)
        if node.parent.type not in ("arguments", "array_expression", "field_initializer", "match_arm", "binary_expression"):
            return
        call = node.parent.parent
        while call is not None and call.type in ("reference_expression", "array_expression", "arguments"):
            call = call.parent
        if len(text) < 3 or " " in text or call.type == "call_expression" and name_of_call(call) in FOR_PEOPLE:
            return
        self.either(node, "text", f'{text[:-1]}-mutant"')

    def integer_literal(self, node: Node) -> None:
        text = self.text(node).replace("_", "")
        if node.parent.type in ("arguments", "field_initializer", "match_arm") and text.isdigit():
            self.either(node, "number", str(int(text) + 1))

    def reference_expression(self, node: Node) -> None:
        value = node.child_by_field_name("value")
        if value is not None and value.type == "array_expression":
            self.elements(node, value, f"[usize::from({ON})..]", f"[..LENGTH - usize::from({ON})]")

    def for_expression(self, node: Node) -> None:
        value = node.child_by_field_name("value")
        if value.type == "array_expression":
            self.elements(value, value, f".into_iter().skip(usize::from({ON}))",
                          f".into_iter().take(LENGTH - usize::from({ON}))")

    def elements(self, node: Node, array: Node, first: str, last: str) -> None:
        """A list without its first element, and one without its last."""
        length = len([child for child in array.named_children if "comment" not in child.type])
        if length == 0 or any(child.type == ";" for child in array.children):
            return
        text = self.text(node)
        for which, suffix in {"first": first, "last": last}.items():
            if length > 1 or which == "first":
                code = f"({text}{suffix.replace('LENGTH', str(length))})"
                self.add(node, "element", f"{text} without the {which} element", code)


def function_line(call: Node) -> int:
    """The line of a call's own name: a chain has one call a line."""
    return call.child_by_field_name("function").child_by_field_name("field").start_point[0] + 1
