"""Installs template.yaml in an emulator, and uploads the example spec, which the installation then deploys.

tests/end_to_end/main.rs starts this program, and compares its report with rehearsals of the same deployments.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile

import boto3
from botocore.config import Config

from gateway import Gateway

ACCOUNT, REGION = "123456789012", "eu-central-1"
# How many times faster than AWS everything runs, including waits.
SPEED = 30
STACK = "stackdrop"
# The boundary of stacks in the simulated account.
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/stackdrop/functions/{STACK}-StackBoundaryPolicy"
# Limits in seconds for the whole program and for one execution. An idle machine with two cores takes about 120 and 40.
TOTAL_SECONDS_MAX, EXECUTION_SECONDS_MAX = 800, 300


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stackdrop", type=pathlib.Path, required=True)
    arguments.add_argument("--programs", type=pathlib.Path, required=True)
    arguments.add_argument("--root", type=pathlib.Path, required=True)
    arguments.add_argument("--work", type=pathlib.Path, required=True)
    arguments.add_argument("--fail", required=True)
    given = arguments.parse_args()
    # If this program times out or is terminated, the processes that it started end with it.
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"timed out after {TOTAL_SECONDS_MAX} s"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated by another process"))
    signal.alarm(TOTAL_SECONDS_MAX)
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    with contextlib.ExitStack() as ends:
        report = Trial(given, ends).run()
    (given.work / "report.json").write_text(json.dumps(report, indent=2))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, seconds, look):
    """Calls `look` until it returns a value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.5)
    sys.exit(f"timed out after {seconds} s waiting for {what}")


class Trial:
    def __init__(self, given, ends):
        self.given, self.ends = given, ends
        self.emulator = free_port()
        self.gateway = Gateway(self.emulator)
        self.started = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def client(self, service, url=None):
        return boto3.client(
            service, endpoint_url=url or self.gateway.url, region_name=REGION, aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, connect_timeout=10, read_timeout=60),
        )

    def run(self):
        self.start_emulator()
        machine, bucket = self.install()
        self.states, self.s3 = self.client("stepfunctions"), self.client("s3")
        spec = (self.given.root / "specs/shop.yaml").read_text()

        self.simulate("--fail", self.given.fail)
        rolled_back = self.deploy(machine, bucket, spec, set())
        rolled_back["remaining"] = self.resources()

        self.simulate()
        scheduled = spec.replace("schedule: cron(0 3 * * ? *)", "schedule: rate(30 minutes)", 1)
        assert scheduled != spec
        deployed = self.deploy(machine, bucket, scheduled, {rolled_back["execution"]})
        deployed["resources"] = self.resources()
        self.say("waiting for the schedule")
        redeployed = self.follow(machine, {rolled_back["execution"], deployed["execution"]})
        for execution in (rolled_back, deployed, redeployed):
            execution["steps"] = self.logged(execution["execution"])
        self.say(f"{self.gateway.decided} calls were decided by the policies of the functions' roles")
        assert self.gateway.decided > 0
        return {"rolled_back": rolled_back, "deployed": deployed, "redeployed": redeployed, "seconds": time.monotonic() - self.started}

    # ---- processes

    def start(self, name, command, environment):
        log = (self.given.work / f"{name}.log").open("wb")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
            cwd=self.given.work,
        )

        def end():
            # The functions that the process started are in its group, and end with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

        self.ends.callback(end)
        return process, end

    def start_emulator(self):
        state = self.given.work / "emulator"
        state.mkdir()
        # Nothing from the user's environment: no credentials, no proxy, no profile.
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(state), "TMPDIR": str(state), "LANG": "C.UTF-8",
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.emulator), "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.gateway.url,
            "AWS_EC2_METADATA_DISABLED": "true", "SFN_WAIT_SCALE": str(1 / SPEED), "STATE_DIR": str(state),
            "S3_DATA_DIR": str(state / "s3"), "DOCKER_HOST": f"unix://{state}/none.sock", "LOG_LEVEL": "INFO",
            "SFTP_ENABLED": "0", "IOT_MTLS_ENABLED": "0",
        }
        process, _ = self.start("emulator", [sys.executable, pathlib.Path(__file__).with_name("emulator.py")], environment)

        def answers():
            if process.poll() is not None:
                sys.exit(f"the emulator ended unexpectedly: see {self.given.work}/emulator.log")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.emulator), timeout=1):
                return True

        wait_for("the emulator", 60, answers)
        self.say("the emulator is up")

    def simulate(self, *more):
        """Starts a new simulated account, which replaces the previous one."""
        if self.gateway.simulator:
            self.end_simulator()
        port = free_port()
        command = [self.given.stackdrop, "simulate", "--listen", f"127.0.0.1:{port}", "--speed", str(SPEED)]
        command += ["--with", self.given.root / "specs/shop.yaml", *more]
        process, self.end_simulator = self.start(f"simulator-{port}", command, {"PATH": os.environ["PATH"]})

        def answers():
            if process.poll() is not None:
                sys.exit(f"the simulator ended unexpectedly: see {self.given.work}/simulator-{port}.log")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True

        wait_for("the simulator", 60, answers)
        self.gateway.simulator = port

    # ---- the user's actions

    def install(self):
        """Does what `sam deploy` does: uploads the zips, the workflow and the template, and creates the stack."""
        s3, formation = self.client("s3"), self.client("cloudformation")
        artifacts = "artifacts"
        s3.create_bucket(Bucket=artifacts, CreateBucketConfiguration={"LocationConstraint": REGION})
        template = (self.given.root / "template.yaml").read_text()

        def package(built):
            function = built[1]
            archive = self.given.work / f"{function}.zip"
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
                zipped.write(self.given.programs / function, "bootstrap")
            s3.upload_file(str(archive), artifacts, archive.name)
            return f"      CodeUri: s3://{artifacts}/{archive.name}"

        template, functions = re.subn(r"    Metadata: .*Binary: ([a-z-]+),.*", package, template)
        assert functions == 9, functions
        s3.upload_file(str(self.given.root / "statemachine/deploy.asl.json"), artifacts, "deploy.asl.json")
        local = "DefinitionUri: statemachine/deploy.asl.json"
        assert local in template
        template = template.replace(local, f"DefinitionUri: s3://{artifacts}/deploy.asl.json")
        s3.put_object(Bucket=artifacts, Key="template.yaml", Body=template.encode())
        formation.create_stack(
            StackName=STACK, TemplateURL=f"{self.gateway.url}/{artifacts}/template.yaml",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            # The emulator gives policies other names than the simulated account, which decides the functions' calls.
            Parameters=[{"ParameterKey": "StackBoundary", "ParameterValue": BOUNDARY}],
        )

        def installed():
            stack = formation.describe_stacks(StackName=STACK)["Stacks"][0]
            if stack["StackStatus"].endswith("_IN_PROGRESS"):
                return None
            if stack["StackStatus"] != "CREATE_COMPLETE":
                events = formation.describe_stack_events(StackName=STACK)["StackEvents"]
                reasons = [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events if "FAILED" in e["ResourceStatus"]]
                sys.exit("cannot install the template: " + "; ".join(reasons or [stack.get("StackStatusReason", "")]))
            return stack

        stack = wait_for("the installation", 60, installed)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.say(f"installed: {outputs['StateMachine']}, {outputs['Bucket']}")
        return outputs["StateMachine"], outputs["Bucket"]

    def deploy(self, machine, bucket, spec, known):
        """Uploads the spec, and waits for the end of the execution that this starts."""
        self.s3.put_object(Bucket=bucket, Key="specs/shop.yaml", Body=spec.encode())
        self.say("uploaded specs/shop.yaml")
        ended = self.follow(machine, known)
        ended["record"] = json.loads(self.s3.get_object(Bucket=bucket, Key="stacks/shop/status.json")["Body"].read())
        return ended

    def follow(self, machine, known):
        def follows_an_end(execution):
            """Whether it was started by the end of another one, which had cleaned up after itself."""
            described = self.states.describe_execution(executionArn=execution)
            return json.loads(described["input"]).get("source") == "aws.states"

        def new():
            executions = self.states.list_executions(stateMachineArn=machine)["executions"]
            unknown = [each["executionArn"] for each in executions if each["executionArn"] not in known]
            return [each for each in unknown if not follows_an_end(each)]

        execution = wait_for("an execution", EXECUTION_SECONDS_MAX, new)[0]

        def ended():
            described = self.states.describe_execution(executionArn=execution)
            return described if described["status"] != "RUNNING" else None

        described = wait_for(f"the end of {execution}", EXECUTION_SECONDS_MAX, ended)
        steps = []
        for page in self.states.get_paginator("get_execution_history").paginate(executionArn=execution):
            entered = (event.get("stateEnteredEventDetails") for event in page["events"])
            steps += [details["name"] for details in entered if details]
        self.say(f"{described['status']} after {len(steps)} states {described.get('cause', '')}")
        return {
            "execution": execution, "status": described["status"], "error": described.get("error"),
            "cause": described.get("cause"), "input": json.loads(described["input"]), "states": steps,
        }

    def logged(self, execution):
        """The steps of an execution, including those inside a Parallel, from the logs of the functions."""
        logs = self.client("logs", f"http://127.0.0.1:{self.emulator}")
        steps = set()
        for group in logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{STACK}-")["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                for event in page["events"]:
                    # Lines that Lambda itself writes are not JSON.
                    with contextlib.suppress(json.JSONDecodeError):
                        span = json.loads(event["message"]).get("span", {})
                        if span.get("deployment") == execution.rsplit(":", 1)[-1] and span.get("stack") == "shop":
                            steps.add(span["step"])
        return sorted(steps)

    def resources(self):
        """How many billed resources exist, by kind."""
        ec2, rds = self.client("ec2"), self.client("rds")
        balancers, ecs = self.client("elbv2"), self.client("ecs")
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "tag:stackdrop:stack", "Values": ["shop"]}])["Vpcs"]
        gateways = ec2.describe_nat_gateways(Filter=[{"Name": "state", "Values": ["pending", "available"]}])["NatGateways"]
        instances = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]}])
        return {
            "vpcs": len(vpcs), "natGateways": len(gateways), "addresses": len(ec2.describe_addresses()["Addresses"]),
            "instances": len(instances["Reservations"]), "databases": len(rds.describe_db_instances()["DBInstances"]),
            "loadBalancers": len(balancers.describe_load_balancers()["LoadBalancers"]),
            "clusters": len(ecs.describe_clusters(clusters=["shop"])["clusters"]),
        }


if __name__ == "__main__":
    main()
