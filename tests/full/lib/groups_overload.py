"""usage: groups_overload.py LONGSPAN MODEL LOG

MODEL has full attention alone and a context of 131,072. Requests of 1,000 to 100,000 tokens, ten times what both groups can
hold, come within 20 s; who is refused comes again when told to. By the log of decisions, LOG, and what the coordinator shows:
no rank is promised more than it has; a large request starts within 10 s after those have ended that ran, or were before it in
the queue, when it came; and Retry-After is right within a factor of two, in most cases. Exit status 1 when not so.
"""
import http.client
import json
import math
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../launcher"))
from server import Coordinator, Worker  # pylint: disable=wrong-import-position
from server_process import check  # pylint: disable=wrong-import-position

SHORTEST, LONGEST, LARGE, TIMES_CAPACITY, COME_WITHIN_S, MOST_WAITING = 1000, 100_000, 50_000, 10, 20, 16
MOST_LATE_S, RIGHT_SHARE, MOST_S = 10, 0.5, 1500
NANOSECOND = 1e-9


def demands(capacity_tokens):
    """(tokens of the prompt, of the output); lengths in equal ratios."""
    source, made = random.Random(11), []
    while sum(map(sum, made)) < TIMES_CAPACITY * capacity_tokens:
        total = round(SHORTEST * (LONGEST / SHORTEST) ** source.random())
        output = source.randrange(16, 128)
        made.append((total - output, output))
    return made


class Client(threading.Thread):
    """Asks until it is answered."""

    def __init__(self, coordinator, demand, comes_in_s):
        super().__init__()
        self.coordinator, self.demand, self.comes_in_s = coordinator, demand, comes_in_s
        self.refusals, self.failure = [], None  # refusals: when, by the clock of the log, and Retry-After
        self.start()

    def run(self):
        prompt_tokens, output_tokens = self.demand
        source = random.Random(prompt_tokens)
        body = {"prompt": [1, *(source.randrange(3, 250) for _ in range(prompt_tokens - 1))], "max_tokens": output_tokens,
                "temperature": 0, "ignore_eos": True, "return_token_ids": True}
        time.sleep(self.comes_in_s)
        while True:
            try:
                status, headers, answer = self.coordinator.ask("POST", "/v1/completions", body)
            except (http.client.HTTPException, OSError) as error:
                self.failure = repr(error)
                return
            if status == 429 and headers.get("retry-after", "").isdigit():
                self.refusals.append((time.monotonic_ns(), int(headers["retry-after"])))
                time.sleep(self.refusals[-1][1])
                continue
            if status != 200 or len(answer["choices"][0]["token_ids"]) != output_tokens:
                self.failure = f"{status} {headers} {str(answer)[:1000]}"
            return


class Watcher(threading.Thread):
    """What the coordinator shows of every rank."""

    def __init__(self, coordinator):
        super().__init__(daemon=True)
        self.coordinator, self.looks, self.most, self.wrong, self.ending = coordinator, 0, 0, [], threading.Event()
        self.start()

    def run(self):
        while not self.ending.wait(0.05):
            for group in self.coordinator.groups():
                for rank in group["ranks"]:
                    self.looks += 1
                    self.most = max(self.most, rank["reserved"] / rank["capacity"])
                    if not 0 <= rank["in_use"] <= rank["reserved"] <= rank["capacity"]:
                        self.wrong.append((group["name"], rank))


class Replay:
    """Goes through the log, with sums of its own."""

    def __init__(self, lines):
        self.groups, self.demand, self.waiting, self.running, self.begun = {}, {}, set(), {}, 0
        self.most_full, self.most_waiting = 0, None
        self.large, self.late = {}, []
        self.full = []  # [begin, end) of the queue's being full
        for line in lines:
            getattr(self, line["call"], lambda line: None)(line)

    def pages(self, ticket, group, shift):
        """Of a request, rank by rank: its blocks are dealt out, with as many of them as there are tokens to be kept."""
        description = self.groups[group]["description"]
        ranks, pages_per_block = len(description["pages_per_rank"]), sum(pages for _, pages in description["layer_groups"])
        blocks = math.ceil(sum(self.demand[ticket]) / description["block_size"])
        pages = [0] * ranks
        for block in range(blocks):
            pages[(block + shift) % ranks] += pages_per_block
        return pages

    def options(self, line):
        self.most_waiting = line["max_waiting"]

    def add_group(self, line):
        check(all(window == 0 for window, _ in line["layer_groups"]), "a model with windows")
        self.groups[line["group"]] = {"description": line, "reserved": [0] * len(line["pages_per_rank"])}

    def remove_group(self, line):
        check(not self.running and not self.waiting, f"a group was lost: {line}")

    def submit(self, line):
        if "refused" in line:
            check(len(self.waiting) == self.most_waiting, f"refused while {len(self.waiting)} wait: {line}")
            return
        ticket, size = line["ticket"], (line["prompt_tokens"], line["max_tokens"])
        self.demand[ticket] = size
        if sum(size) >= LARGE:
            self.large[ticket] = {"ran": set(self.running), "ran_until": line["t"],
                                  "ahead": {*self.running, *self.waiting}, "ahead_until": line["t"]}
        self.waiting.add(ticket)
        if len(self.waiting) == self.most_waiting:
            self.full.append([line["t"], line["t"]])

    def decide(self, line):
        for decision in line["decisions"]:
            check(decision["kind"] == "start", f"not a start: {decision}")
            ticket, group = decision["ticket"], decision["group"]
            pages, state = self.pages(ticket, group, decision["shift"]), self.groups[group]
            for rank, (needs, capacity) in enumerate(zip(pages, state["description"]["pages_per_rank"])):
                state["reserved"][rank] += needs
                check(state["reserved"][rank] <= capacity,
                      f"rank {rank} of group {group} has {capacity} pages, {state['reserved'][rank]} are promised: {line}")
                self.most_full = max(self.most_full, state["reserved"][rank] / capacity)
            self.running[ticket] = group, pages
            self.begun += 1
            self.leave_queue(ticket, line["t"])
            if ticket in self.large:
                large = self.large.pop(ticket)
                self.late.append([(line["t"] - large[who + "_until"]) * NANOSECOND if not large[who] else 0
                                  for who in ("ahead", "ran")])

    def leave_queue(self, ticket, now):
        if ticket in self.waiting:
            if len(self.waiting) == self.most_waiting:
                self.full[-1][1] = now
            self.waiting.remove(ticket)

    def end(self, line):
        self.leave_queue(line["ticket"], line["t"])
        if line["ticket"] in self.running:
            group, pages = self.running.pop(line["ticket"])
            for rank, needs in enumerate(pages):
                self.groups[group]["reserved"][rank] -= needs
        for large in self.large.values():
            for who in ("ahead", "ran"):
                if line["ticket"] in large[who]:
                    large[who].remove(line["ticket"])
                    large[who + "_until"] = line["t"]

    def room_after_s(self, at):
        """From when somebody was refused until the queue had room."""
        return max((end - at for begin, end in self.full if begin <= at < end), default=0) * NANOSECOND


def is_right(told_s, true_s):
    """Within a factor of two; the header has whole seconds and at least one."""
    true_s = max(1, math.ceil(true_s))
    return told_s <= 2 * true_s and true_s <= 2 * told_s


def main(longspan, model, log):
    coordinator = Coordinator(longspan, "--max-queue", str(MOST_WAITING), "--decision-log", log, model=model)
    coordinator.timeout_s = MOST_S
    workers = [Worker(longspan, coordinator.grpc_port, "--name", "large", kv_bytes="11M", model=model),
               Worker(longspan, coordinator.grpc_port, "--name", "small", "--tp", "1", "--kvp", "2", kv_bytes="2500K", ranks=2,
                      model=model)]
    coordinator.wait_for_groups(2)
    pages = [sum(rank["capacity"] for rank in group["ranks"]) for group in coordinator.groups()]
    capacity_tokens = 64 * sum(pages)  # a page is a block here
    asked, source = demands(capacity_tokens), random.Random(12)
    watcher, begin = Watcher(coordinator), time.monotonic()
    clients = [Client(coordinator, demand, source.uniform(0, COME_WITHIN_S)) for demand in asked]
    for client in clients:
        client.join(max(0, begin + MOST_S - time.monotonic()))
        check(not client.is_alive(), f"not all were answered in {MOST_S} s\n{coordinator.log_text()[-3000:]}")
    took_s = time.monotonic() - begin
    watcher.ending.set()
    watcher.join()
    failures = [client.failure for client in clients if client.failure]
    check(not failures, f"{len(failures)} requests failed, the first: {failures[:1]}\n{coordinator.log_text()[-3000:]}")
    check(not watcher.wrong, f"more is promised than there is: {watcher.wrong[:3]}")
    coordinator.wait_for(lambda: coordinator.blocks_in_use() == 0, "free KV")
    for process in workers:
        check(process.process.poll() is None, f"a group has ended\n{process.log_text()}")
    for worker in workers:
        check(worker.end(signal.SIGUSR1) == 0, f"exit status of a group\n{worker.log_at_end}")
    check(coordinator.end() == 0, f"exit status of the coordinator\n{coordinator.log_at_end}")
    with open(log, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    replay = Replay(lines)
    check(replay.begun >= len(asked) and not replay.running and not replay.waiting, "not all have begun and ended by the log")
    check(not any(any(group["reserved"]) for group in replay.groups.values()), "pages are promised to nobody")
    print(f"{len(asked)} requests, {sum(map(sum, asked)) / 1e6:.1f} M tokens on {capacity_tokens:,} "
          f"({' + '.join(map(str, pages))} pages), in {took_s:.0f} s; {len(lines)} lines of decisions and {watcher.looks} "
          f"looks at ranks: at most {replay.most_full:.1%} and {watcher.most:.1%} promised")

    check(len(replay.late) == sum(sum(demand) >= LARGE for demand in asked) > 5, f"{len(replay.late)} large requests")
    late, strictly = (max(kind) for kind in zip(*replay.late))
    in_time = sum(after_s <= MOST_LATE_S for _, after_s in replay.late)
    print(f"{len(replay.late)} large requests start at most {late:.1f} s after those before them have ended; after those alone "
          f"that ran when they came at most {strictly:.1f} s, {in_time} of them within {MOST_LATE_S} s")
    check(late <= MOST_LATE_S, f"a large request starts {late:.1f} s after those before it; at most {MOST_LATE_S} s")

    waits = [(told_s, replay.room_after_s(at)) for client in clients for at, told_s in client.refusals]
    check(len(waits) > 20, f"only {len(waits)} were refused")
    right = sum(is_right(*wait) for wait in waits)
    ratios = sorted(told_s / max(1, math.ceil(true_s)) for told_s, true_s in waits)
    told_s, true_s = (sorted(times) for times in zip(*waits))
    print(f"{len(waits)} were refused and told 1 to {told_s[-1]} s, median {told_s[len(waits) // 2]}; there was room after "
          f"{true_s[0]:.1f} to {true_s[-1]:.1f} s, median {true_s[len(waits) // 2]:.1f}: {right / len(waits):.1%} right within "
          f"a factor of two; told/true 5 % {ratios[len(waits) // 20]:.2f}, median {ratios[len(waits) // 2]:.2f}, "
          f"95 % {ratios[-1 - len(waits) // 20]:.2f}")
    check(right >= RIGHT_SHARE * len(waits), f"{right / len(waits):.0%} were told the truth; at least {RIGHT_SHARE:.0%}")


main(*sys.argv[1:])
