"""What AWS answers although its models do not say so, with sources."""

# "Common Error Types" of the API references: every operation can answer them.
COMMON = {
    "AccessDenied", "AccessDeniedException", "InternalFailure", "RequestExpired", "ServiceUnavailable", "Throttling",
    "ThrottlingException", "UnauthorizedOperation", "ValidationError", "ValidationException",
}

# (service, code): the source.
UNDECLARED = {}

# Services whose models declare no error codes: why.
UNMODELLED = {
    "ec2": "the codes are listed in the EC2 API reference, \"Error codes\", not in the model",
}
