"""Measures the size, the start time and the memory of the functions' programs.

    cargo build --release --package stackdrop-functions --bins
    python3 tests/end_to_end/measure.py target/release

Starts each program as Lambda does, with this script as the runtime API, and measures until its first poll.
"""

import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

SOURCES = pathlib.Path(__file__).parents[2] / "functions/src/bin"
FUNCTIONS = sorted(source.stem for source in SOURCES.glob("*.rs"))
RUNS = 10
# Limits for a release: MB of the zip, milliseconds to the first poll, MB of resident memory at that poll.
MAX = {"zip": 4.5, "start": 15.0, "resident": 15.0}


def main():
    programs, good = pathlib.Path(sys.argv[1]).resolve(), True
    for function in FUNCTIONS:
        program = programs / function
        size, runs = zipped(program), [start(program, function) for _ in range(RUNS)]
        took, resident = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
        good = good and size <= MAX["zip"] and took < MAX["start"] and resident < MAX["resident"]
        print(
            f"{function}: a zip of {size:.2f} MB, {took:.1f} ms to the first poll (median of {RUNS}), "
            f"{resident:.1f} MB resident"
        )
    print(f"limits: {MAX['zip']} MB, {MAX['start']} ms, {MAX['resident']} MB")
    sys.exit(0 if good else 1)


def zipped(program):
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder) / "function.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
            package.write(program, "bootstrap")
        return archive.stat().st_size / 1e6


def start(program, function):
    with socket.create_server(("127.0.0.1", 0)) as runtime:
        runtime.settimeout(30)
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.getsockname()[1]}", "_HANDLER": "bootstrap",
            "AWS_REGION": "eu-central-1", "AWS_LAMBDA_FUNCTION_NAME": function, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "STACKDROP_BUCKET": "bucket", "STACKDROP_TOPIC": "topic", "STACKDROP_SCHEDULE_GROUP": "group",
            "STACKDROP_SCHEDULE_ROLE": "role", "STACKDROP_STACK_BOUNDARY": "boundary", "STACKDROP_HOSTED_ZONES": "",
            "STACKDROP_DOMAIN_SUFFIXES": "", "STACKDROP_APPROVAL_FOR": "", "STACKDROP_MAX_MONTHLY_USD": "1000",
            "STACKDROP_MAX_TASKS": "50", "STACKDROP_MAX_STORAGE_GIB": "1000", "STACKDROP_MAX_VCPUS": "64",
            "STACKDROP_CHANGES_AFTER_UPDATE": "report",
            "STACKDROP_STATE_MACHINE": "arn:aws:states:eu-central-1:123456789012:stateMachine:stackdrop-deploy",
            "PATH": os.environ["PATH"],
        }
        began = time.perf_counter()
        process = subprocess.Popen([program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            connection, _ = runtime.accept()
            with connection:
                request = connection.recv(4096)
                took = (time.perf_counter() - began) * 1000
                assert b"/invocation/next" in request, request
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
                return took, resident * 1024 / 1e6
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
