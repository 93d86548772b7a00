"""One endpoint for all AWS services, which forwards each request by the service in its signature.

Stackdrop's simulated account answers for the services that stacks consist of, with the delays and errors of AWS. The
emulator answers for the services that Stackdrop itself runs on (S3, EventBridge, Step Functions, Lambda, ...).
"""

import http.client
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIMULATED = {
    "acm", "application-autoscaling", "ec2", "ecr", "ecs", "elasticloadbalancing", "iam", "logs", "rds", "route53",
    "secretsmanager", "servicequotas", "ssm",
}

SIGNED_FOR = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
FUNCTION = re.compile(r"stackdrop-([a-z-]+)")
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


class Gateway:
    """Listens on a free loopback port."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.simulator = None
        # The number of calls that were decided by the policies of a function's role.
        self.decided = 0
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                gateway.forward(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = forward

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def forward(self, request):
        signed_for = SIGNED_FOR.search(request.headers.get("Authorization", ""))
        service = signed_for.group(1) if signed_for else None
        port = self.simulator if service in SIMULATED else self.emulator
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        # The signature covers the host, so the emulator's S3 must see the original one.
        headers["Host"] = request.headers["Host"]
        # The simulated account decides the call by the function's role in the template.
        function = FUNCTION.fullmatch(request.headers.get("X-Amz-Security-Token", ""))
        if function:
            self.decided += service in SIMULATED
            headers["X-Stackdrop-Role"] = f"stackdrop-{function.group(1).title().replace('-', '')}Role"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError as error:
            # The caller sees a lost connection, as when AWS cannot be reached.
            print(f"{service}: no answer from port {port}: {error}", file=sys.stderr, flush=True)
            request.close_connection = True
            return
        finally:
            connection.close()
        request.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        length = answer.getheader("Content-Length") if request.command == "HEAD" else len(content)
        if length is not None:
            request.send_header("Content-Length", length)
        request.end_headers()
        request.wfile.write(content)
