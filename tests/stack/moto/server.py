"""moto with what it lacks for Stackdrop's calls. Everything else is as installed.

    server.py PORT

Each function below that changes moto or answers in its place says why. It also answers `GET /stackdrop/resources` with
every resource that exists, and ends when its standard input is closed.
"""

import io
import json
import logging
import os
import sys
import threading

os.environ.update(
    # A requested certificate is issued at once: moto waits for a minute otherwise.
    MOTO_ACM_VALIDATION_WAIT="0",
)

from werkzeug.serving import run_simple

from moto.acm.models import CertBundle, acm_backends
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends
from moto.elbv2.models import FakeHealthStatus, elbv2_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.rds.models import RDSBackend, rds_backends
from moto.route53.models import route53_backends
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

ACCOUNT, REGION = "123456789012", "eu-central-1"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:stackdrop/shop/payment-Ab3dEf"
# The policy of an endpoint without one of its own.
FULL_ACCESS = json.dumps({"Version": "2008-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]})
# The versions of PostgreSQL.
VERSIONS = ["16.9", "17.4", "17.5"]


def seed():
    """What the example spec refers to: a certificate and a secret with these ARNs. There is no default VPC."""
    ec2 = ec2_backends[ACCOUNT][REGION]
    for default in (ec2.vpcs, ec2.subnets, ec2.groups, ec2.route_tables):
        default.clear()
    certificate = CertBundle.generate_cert("example.com", account_id=ACCOUNT, region=REGION, sans=[])
    certificate.arn, certificate.status, certificate.type = CERTIFICATE, "ISSUED", "IMPORTED"
    acm_backends[ACCOUNT][REGION]._certificates[CERTIFICATE] = certificate
    backend = secretsmanager_backends[ACCOUNT][REGION]
    backend.create_secret(name="stackdrop/shop/payment", secret_string="{}", secret_binary=None, description=None, tags=[],
                          kms_key_id=None, client_request_token=None, replica_regions=[], force_overwrite=False)
    FakeSecret.arn = property(lambda secret: secret.__dict__["arn"], lambda secret, arn: secret.__dict__.update(
        arn=SECRET if secret.name == "stackdrop/shop/payment" else arn))
    backend.secrets.get("stackdrop/shop/payment").arn = SECRET


# ---- What moto does not have: answers in its place, by the operation.

def tag_scalable_targets(_):
    """Application Auto Scaling: TagResource and UntagResource are not implemented."""
    return {}


def pull_through_cache(_):
    """ECR: DescribePullThroughCacheRules is not implemented; the account has no rules."""
    return {"pullThroughCacheRules": []}


def default_quota(request):
    """Service Quotas: GetAWSDefaultServiceQuota is not implemented, and GetServiceQuota only for VPCs."""
    return {"Quota": {"ServiceCode": request["ServiceCode"], "QuotaCode": request["QuotaCode"], "Value": 100.0}}


def managed_instances(request):
    """SSM: DescribeInstanceInformation is not implemented. Here each agent has registered."""
    ids = [value for each in request.get("Filters", []) for value in each["Values"]]
    return {"InstanceInformationList": [{"InstanceId": each, "PingStatus": "Online"} for each in ids]}


def service_deployments(request):
    """ECS: ListServiceDeployments is not implemented. Here each rollout has succeeded: moto runs no tasks."""
    service = ecs_backends[ACCOUNT][REGION].services.get(f"{request['cluster']}:{request['service'].split('/')[-1]}")
    if not service:
        return {"serviceDeployments": []}
    number = service.deployments[0]["id"].split("/")[-1]
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service-revision/{service.cluster_name}/{service.name}/{number}"
    return {"serviceDeployments": [{"status": "SUCCESSFUL", "targetServiceRevisionArn": arn}]}


IN_PLACE = {
    "AnyScaleFrontendService.TagResource": tag_scalable_targets,
    "AnyScaleFrontendService.UntagResource": tag_scalable_targets,
    "AmazonEC2ContainerRegistry_V20150921.DescribePullThroughCacheRules": pull_through_cache,
    "ServiceQuotasV20190624.GetAWSDefaultServiceQuota": default_quota,
    "ServiceQuotasV20190624.GetServiceQuota": default_quota,
    "AmazonSSM.DescribeInstanceInformation": managed_instances,
    "AmazonEC2ContainerServiceV20141113.ListServiceDeployments": service_deployments,
}


# ---- What moto does otherwise than AWS documents: changes of its models.

def engine_versions():
    """RDS: DescribeDBEngineVersions and DescribeDBMajorEngineVersions are not implemented, and the offers of classes end before these versions."""
    def versions(_):
        return ActionResult({"DBEngineVersions": [
            {"Engine": "postgres", "EngineVersion": version, "DBParameterGroupFamily": f"postgres{version.split('.')[0]}",
             "Status": "available", "ValidUpgradeTarget": [
                {"Engine": "postgres", "EngineVersion": other, "IsMajorVersionUpgrade": other.split(".")[0] != version.split(".")[0]}
                for other in VERSIONS if other > version]}
            for version in VERSIONS
        ]})

    def offers(response):
        return ActionResult({"OrderableDBInstanceOptions": [
            {"Engine": "postgres", "EngineVersion": response.params.get("EngineVersion"),
             "DBInstanceClass": response.params.get("DBInstanceClass"), "StorageType": "gp3", "Vpc": True,
             "AvailabilityZones": [{"Name": f"{REGION}{letter}"} for letter in "abc"], "MultiAZCapable": True,
             "SupportsStorageEncryption": True, "SupportsStorageAutoscaling": True,
             "MinStorageSize": 20, "MaxStorageSize": 65536}
        ]})

    from moto.rds.responses import RDSResponse
    RDSResponse.describe_db_engine_versions = versions
    RDSResponse.describe_db_major_engine_versions = lambda _: ActionResult({"DBMajorEngineVersions": []})
    RDSResponse.describe_orderable_db_instance_options = offers


def subnet_groups():
    """RDS: ModifyDBSubnetGroup loses the group (`modify_db_subnet_group` pops it and does not put it back)."""
    modify = RDSBackend.modify_db_subnet_group

    def modify_and_keep(self, subnet_name, description, subnets):
        group = modify(self, subnet_name, description, subnets)
        self.subnet_groups[subnet_name] = group
        return group

    RDSBackend.modify_db_subnet_group = modify_and_keep


def nat_gateways():
    """EC2: a deleted NAT gateway keeps its address and its interface, and the filter for tags is ignored."""
    backend = type(ec2_backends[ACCOUNT][REGION])
    delete, describe = backend.delete_nat_gateway, backend.describe_nat_gateways

    def delete_with_association(self, nat_gateway_id):
        gateway = delete(self, nat_gateway_id)
        for address in self.addresses:
            if address.eni is gateway._eni:
                address.eni, address.association_id = None, None
        self.enis.pop(gateway._eni.id, None)
        return gateway

    def describe_by_tag(self, filters, nat_gateway_ids):
        found = describe(self, filters, nat_gateway_ids)
        for name, values in (filters or {}).items():
            if name.startswith("tag:"):
                found = [each for each in found if any(
                    tag["key"] == name[4:] and tag["value"] in values for tag in each.get_tags())]
        return found

    backend.delete_nat_gateway, backend.describe_nat_gateways = delete_with_association, describe_by_tag


def gateway_endpoints():
    """EC2: ModifyVpcEndpoint adds no routes to new route tables, and the deletion then fails because it finds none."""
    backend = type(ec2_backends[ACCOUNT][REGION])
    delete_route = backend.delete_route
    from moto.ec2.exceptions import InvalidRouteError

    def delete_if_there(self, route_table_id, *rest, **more):
        try:
            return delete_route(self, route_table_id, *rest, **more)
        except InvalidRouteError:
            if not str(rest[0] if rest else "").startswith("pl-"):
                raise
            return None

    backend.delete_route = delete_if_there


def route_tables():
    """EC2: AssociateRouteTable silently keeps the association with another table. AWS refuses the call with this code (EC2
    API reference, "Error codes")."""
    from moto.ec2.exceptions import EC2ClientError
    backend = type(ec2_backends[ACCOUNT][REGION])
    associate = backend.associate_route_table

    def associate_once(self, route_table_id, gateway_id=None, subnet_id=None):
        for table in self.route_tables.values():
            if subnet_id in table._associations.values():
                raise EC2ClientError("Resource.AlreadyAssociated", f"{subnet_id} is already associated with {table.id}")
        return associate(self, route_table_id, gateway_id, subnet_id)

    backend.associate_route_table = associate_once


def endpoint_policies():
    """EC2: ModifyVpcEndpoint ignores ResetPolicy."""
    from moto.ec2.responses import EC2Response
    modify = EC2Response.modify_vpc_endpoint

    def modify_or_reset(self):
        if self._get_param("ResetPolicy") in (True, "true"):
            ec2_backends[ACCOUNT][REGION].vpc_end_points[self._get_param("VpcEndpointId")].policy_document = FULL_ACCESS
        return modify(self)

    EC2Response.modify_vpc_endpoint = modify_or_reset


def metadata_options():
    """EC2: ModifyInstanceMetadataOptions forgets the options that the request does not have."""
    backend = type(ec2_backends[ACCOUNT][REGION])
    modify = backend.modify_instance_metadata_options

    def modify_given(self, instance_id, http_tokens=None, hop_limit=None, http_endpoint=None, **others):
        now = self.get_instance(instance_id).metadata_options
        return modify(
            self, instance_id, http_tokens=http_tokens or now.http_tokens, http_endpoint=http_endpoint or now.http_endpoint,
            hop_limit=hop_limit or now.http_put_response_hop_limit, **others)

    backend.modify_instance_metadata_options = modify_given


def rotation_rules():
    """Secrets Manager: RotateSecret without RotateImmediately changes the date of the last rotation."""
    backend = type(secretsmanager_backends[ACCOUNT][REGION])
    rotate = backend.rotate_secret

    def rotate_only_if_asked(self, secret_id, *rest, rotate_immediately=True, **others):
        rotated = self.secrets[secret_id].last_rotation_date
        answer = rotate(self, secret_id, *rest, rotate_immediately=rotate_immediately, **others)
        if not rotate_immediately:
            self.secrets[secret_id].last_rotation_date = rotated
        return answer

    backend.rotate_secret = rotate_only_if_asked


def healthy_targets():
    """Elastic Load Balancing: no tasks run, so no targets are registered. Here each task of a service is a healthy one."""
    backend = type(elbv2_backends[ACCOUNT][REGION])

    def healthy(self, target_group_arn, targets):
        group = self.target_groups[target_group_arn]
        services = ecs_backends[ACCOUNT][REGION].services.values()
        tasks = sum(each.desired_count for each in services if each.status == "ACTIVE" and any(
            balancer.get("targetGroupArn") == target_group_arn for balancer in each.load_balancers))
        return [FakeHealthStatus(f"10.20.0.{10 + task}", group.port, group.port, "healthy") for task in range(tasks)]

    backend.describe_target_health = healthy


# What an ECS service in moto forgets. AWS returns these (API reference, Service).
FORGOTTEN = (
    "healthCheckGracePeriodSeconds", "deploymentConfiguration", "enableECSManagedTags", "availabilityZoneRebalancing",
    "enableExecuteCommand",
)


class Services:
    """ECS services: remembers what moto forgets, and shows the newest rollout as completed."""

    def __init__(self):
        self.remembered = {}

    def asked(self, operation, request):
        if operation in ("CreateService", "UpdateService"):
            name = f"{request['cluster']}/{(request.get('serviceName') or request.get('service')).split('/')[-1]}"
            kept = self.remembered.setdefault(name, {}) if operation == "UpdateService" else {}
            kept.update({key: request[key] for key in FORGOTTEN if key in request})
            self.remembered[name] = kept

    def answered(self, answer):
        services = answer.get("services", []) + [answer[key] for key in ("service",) if key in answer]
        for service in services:
            name = f"{service['clusterArn'].split('/')[-1]}/{service['serviceName']}"
            service.update(self.remembered.get(name, {}))
            active = service["status"] == "ACTIVE"
            service["runningCount"] = service["desiredCount"] if active else 0
            service["pendingCount"] = 0
            for rollout in service.get("deployments", []):
                rollout.update(
                    taskDefinition=service["taskDefinition"], desiredCount=service["desiredCount"],
                    runningCount=service["runningCount"], pendingCount=0, failedTasks=0, rolloutState="COMPLETED",
                    networkConfiguration=service.get("networkConfiguration"),
                )
        return answer


def existing():
    """Every resource, without AWS's own and without those that are deleted."""
    ec2, found = ec2_backends[ACCOUNT][REGION], []

    def add(kind, items):
        found.extend(f"{kind} {item}" for item in items)

    add("vpc", ec2.vpcs)
    add("subnet", [key for zone in ec2.subnets.values() for key in zone])
    add("security-group", [key for vpc in ec2.groups.values() for key, group in vpc.items()])
    add("route-table", ec2.route_tables)
    add("internet-gateway", ec2.internet_gateways)
    add("nat-gateway", [each.id for each in ec2.nat_gateways.values() if each.state != "deleted"])
    add("address", ec2.addresses)
    add("interface", ec2.enis)
    add("endpoint", [each.id for each in ec2.vpc_end_points.values() if each.state != "deleted"])
    add("instance", [each.id for kept in ec2.reservations.values() for each in kept.instances if each._state.name != "terminated"])
    ecs = ecs_backends[ACCOUNT][REGION]
    add("cluster", [name for name, each in ecs.clusters.items() if each.status == "ACTIVE"])
    add("service", [name for name, each in ecs.services.items() if each.status == "ACTIVE"])
    add("task-definition", [
        each.arn for family in ecs.task_definitions.values() for each in family.values() if each.status == "ACTIVE"])
    elb = elbv2_backends[ACCOUNT][REGION]
    add("load-balancer", elb.load_balancers)
    add("target-group", elb.target_groups)
    rds = rds_backends[ACCOUNT][REGION]
    add("database", rds.databases)
    add("subnet-group", rds.subnet_groups)
    add("parameter-group", rds.db_parameter_groups)
    iam = iam_backends[ACCOUNT]["aws"]
    add("role", [role.name for role in iam.roles.values() if not role.path.startswith("/aws-service-role/")])
    add("instance-profile", [profile.name for profile in iam.instance_profiles.values()])
    add("log-group", logs_backends[ACCOUNT][REGION].groups)
    add("certificate", acm_backends[ACCOUNT][REGION]._certificates)
    add("zone", route53_backends[ACCOUNT]["aws"].zones)
    return sorted(found)


class Front:
    """Answers in moto's place, or changes moto's answer, where the functions above say so."""

    def __init__(self, moto):
        self.moto, self.services = moto, Services()

    def __call__(self, environ, start):
        if environ["PATH_INFO"] == "/stackdrop/resources":
            return self.reply(start, existing())
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        request = self.body(environ)
        if target in IN_PLACE:
            return self.reply(start, IN_PLACE[target](json.loads(request)))
        is_ecs = target.startswith("AmazonEC2ContainerServiceV20141113.")
        if is_ecs:
            self.services.asked(target.split(".")[1], json.loads(request))
        began = []
        answer = b"".join(self.moto(environ, lambda *head: began.append(head)))
        status, headers, *_ = began[0]
        refused = "" if status.startswith("200") else f" is refused: {answer[:400]}"
        print(f"{target} {request[:200]}{refused}", file=sys.stderr, flush=True)
        if is_ecs and not refused:
            return self.reply(start, self.services.answered(json.loads(answer)))
        start(status, headers)
        return [answer]

    @staticmethod
    def body(environ):
        """The request's body, which moto can still read afterwards."""
        read = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(read)
        return read

    @staticmethod
    def reply(start, document):
        body = json.dumps(document).encode()
        start("200 OK", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))])
        return [body]


def main():
    def end_with_the_test():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_the_test, daemon=True).start()
    for change in (engine_versions, subnet_groups, nat_gateways, gateway_endpoints, route_tables, endpoint_policies, metadata_options, rotation_rules, healthy_targets, seed):
        change()
    app = Front(DomainDispatcherApplication(create_backend_app))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
