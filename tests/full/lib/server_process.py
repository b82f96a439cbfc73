"""`longspan serve` in a process of its own, for the scripts of this folder."""
import http.client
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../launcher"))
from server import LISTENS, Process  # pylint: disable=wrong-import-position


def check(condition, what):
    if not condition:
        print(f"FAILED: {what}")
        sys.exit(1)


class Server(Process):
    """On a free port. With (tp, kvp) it runs as a group under mpirun."""

    patience_s = 60

    def __init__(self, longspan, model, *arguments, layout=(1, 1)):
        ranks = layout[0] * layout[1]
        self.grouped = ranks > 1
        grid = ["--tp", str(layout[0]), "--kvp", str(layout[1])] if self.grouped else []
        super().__init__(longspan, "serve", "--port", "0", *arguments, *grid, ranks=ranks, model=model)
        self.port = int(self.ready(LISTENS)[0])
        self.ready(r"(ready) after", seconds=300)
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        if kind is not None:
            print("the server's log ends with:", *self.log_text().splitlines()[-20:], sep="\n  ", flush=True)

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
