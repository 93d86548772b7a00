"""What AWS answers although its models do not say so, with sources."""

# "Common Error Types" of the API references: every operation can answer them.
COMMON = {
    "AccessDenied", "AccessDeniedException", "InternalFailure", "RequestExpired", "ServiceUnavailable", "Throttling",
    "ThrottlingException", "UnauthorizedOperation", "ValidationError", "ValidationException",
}

# (service, code): the source.
UNDECLARED = {
    ("s3", "NoSuchKey"): "a conditional delete of an object that does not exist is answered with 404 NoSuchKey "
    "(localstack, tests/aws/services/s3/test_s3.snapshot.json, test_delete_object_if_match_non_express, recorded 2026-02)",
    ("rds", "InvalidParameterValue"): "InvalidParameterValue: Missing necessary credentials, from CreateDBSubnetGroup without "
    "the service-linked role (terraform-aws-modules/terraform-aws-rds#364, crossplane-contrib/provider-aws#479)",
}

# (service or operation, path in the answer): what AWS answers, and the source.
ANSWERS = {
    ("ec2", "return"): "operations without a result answer <return>true</return> (EC2 API reference, \"Response Elements\")",
    ("ec2:DescribeInternetGateways", "InternetGateways[].Attachments[].State"): "available (API reference, "
    "InternetGatewayAttachment: \"the state is available when attached to a VPC\"), though the enumeration lacks it",
    ("ec2:DescribeVpcEndpoints", "VpcEndpoints[].State"): "written in small letters (API reference, DescribeVpcEndpoints, "
    "\"Examples\"); the enumeration has capitals",
    ("elasticloadbalancing:DescribeLoadBalancerAttributes", "Attributes"): "23 attributes of an application load balancer "
    "(API reference, LoadBalancerAttribute); the maximum is that of the requests",
    ("elasticloadbalancing:ModifyLoadBalancerAttributes", "Attributes"): "the same",
    ("route53:GetHostedZone", "HostedZone.Id"): "/hostedzone/ before the ID (API reference, GetHostedZone, \"Examples\"); "
    "the maximum is that of the requests, which have the ID alone",
}

# Services whose models declare no error codes: why.
UNMODELLED = {
    "ec2": "the codes are listed in the EC2 API reference, \"Error codes\", not in the model",
}

# Operations whose requests may have a random token: why a repeated call does no harm.
RANDOM_TOKENS = {
    "scheduler:CreateSchedule": "its name is taken: ConflictException, after which it is updated",
    "scheduler:UpdateSchedule": "it sets the same values once more",
    "scheduler:DeleteSchedule": "the schedule is gone: ResourceNotFoundException, which is a success",
}
