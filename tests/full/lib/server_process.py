"""`longspan serve` in a process of its own, for the scripts of this folder."""
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

MPIRUN = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../../launcher/local-mpirun")


def check(condition, what):
    if not condition:
        print(f"FAILED: {what}")
        sys.exit(1)


class Server:
    """On a free port. With (tp, kvp) it runs as a group under mpirun."""

    def __init__(self, longspan, model, *arguments, layout=(1, 1)):
        command = [longspan, "serve", "--model", model, "--port", "0", *arguments]
        ranks = layout[0] * layout[1]
        if ranks > 1:
            command = [MPIRUN, "-n", str(ranks), *command, "--tp", str(layout[0]), "--kvp", str(layout[1])]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGSPAN_")}
        self.grouped = ranks > 1
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stderr=self.log, stdout=subprocess.DEVNULL, env=environment)
        try:
            self.port = int(self.wait_for_log(r"listening on \w+://[^:]+:(\d+)"))
            self.wait_for_log(r"(ready) after", 300)
        except BaseException:
            self.process.kill()
            raise
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        if kind is not None:
            print("the server's log ends with:", *self.log_text().splitlines()[-20:], sep="\n  ", flush=True)

    def log_text(self):
        self.log.seek(0)
        return self.log.read()

    def wait_for_log(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := re.search(pattern, self.log_text()):
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.log_text()}")

    def ask(self, method, path, body=None):
        """Status, and the body, parsed where it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            content = response.read().decode()
            is_json = response.headers.get("content-type", "").startswith("application/json")
            return response.status, json.loads(content) if is_json else content
        finally:
            connection.close()

    def metrics(self):
        """{name with labels: value}."""
        text = self.ask("GET", "/metrics")[1]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines()
                if line and not line.startswith("#")}

    def pages(self):
        """KV pages that requests hold or may still take."""
        groups = self.ask("GET", "/v1/cluster")[1]["groups"]
        return sum(rank["in_use"] + rank["reserved"] for group in groups for rank in group["ranks"])

    def wait_for(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < end, f"waited in vain for {what}")
            time.sleep(0.05)

    def resident_bytes(self):
        """Of rank 0 where there is but one process."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self, seconds=60):
        """Exit status. mpirun gives SIGTERM's receivers no time to drain."""
        self.process.send_signal(signal.SIGUSR1 if self.grouped else signal.SIGTERM)
        return self.process.wait(seconds)
