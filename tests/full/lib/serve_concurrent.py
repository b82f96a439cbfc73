"""usage: serve_concurrent.py LONGSPAN MODEL

32 streams at once, with prompts of 16 to 8,000 tokens: under (1,1) and (1,2) each gives the tokens that it gives alone under
(1,1). Exit status 1 when not so.
"""
import http.client
import json
import random
import sys
import threading
import time

from server_process import Server, check

STREAMS, SHORTEST, LONGEST, OUTPUT_TOKENS = 32, 16, 8000, 24
LAYOUTS = [(1, 1), (1, 2)]
WORDS = 1000  # ids that prompts are made of, ordinary ones


def requests():
    """Lengths in equal ratios, in any order; greedy and sampled."""
    source = random.Random(7)
    lengths = [round(SHORTEST * (LONGEST / SHORTEST) ** (i / (STREAMS - 1))) for i in range(STREAMS)]
    source.shuffle(lengths)
    return [{"prompt": [2, *(source.randrange(1000, 1000 + WORDS) for _ in range(length - 1))], "max_tokens": OUTPUT_TOKENS,
             "temperature": 0.8 * (i % 2), "seed": i, "ignore_eos": True, "stream": True, "return_token_ids": True,
             "stream_options": {"include_usage": True}} for i, length in enumerate(lengths)]


def stream(port, request, begun=None):
    """The tokens of an answer. Waits at `begun`, a barrier, before it asks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1200)
    connection.connect()
    if begun:
        begun.wait()
    connection.request("POST", "/v1/completions", json.dumps(request))
    response = connection.getresponse()
    assert response.status == 200, response.read()
    tokens, usage, event = [], None, b""
    while not event.startswith(b"data: [DONE]"):
        event = response.readline()
        if event.startswith(b"data: {"):
            chunk = json.loads(event[6:])
            usage = chunk["usage"] if "usage" in chunk else usage
            for choice in chunk.get("choices", []):
                tokens += choice.get("token_ids") or []
    connection.close()
    assert usage["prompt_tokens"] == len(request["prompt"]), usage
    assert len(tokens) == usage["completion_tokens"] == OUTPUT_TOKENS, (tokens, usage)
    return tokens


def together(port, asked):
    begun = threading.Barrier(len(asked))
    answers = [None] * len(asked)

    def run(i):
        answers[i] = stream(port, asked[i], begun)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def main():
    longspan, model = sys.argv[1:]
    asked = requests()
    tokens = sum(len(request["prompt"]) for request in asked)
    alone = None
    for layout in LAYOUTS:
        with Server(longspan, model, "--kv-bytes", "1G", "--threads", "2" if layout == (1, 1) else "1", layout=layout) as server:
            # Those of the first layout: so layouts are compared too.
            alone = alone or [stream(server.port, request) for request in asked]
            begin = time.monotonic()
            at_once = together(server.port, asked)
            at_once_s = time.monotonic() - begin
            wrong = [len(request["prompt"]) for request, got, want in zip(asked, at_once, alone) if got != want]
            check(not wrong, f"{layout}: among others, prompts of {wrong} tokens give other tokens than alone")
            server.wait_for(lambda: server.pages() == 0, "free pages")
            check(server.end() == 0, "exit status at the end")
        print(f"{layout}: {STREAMS} streams at once, prompts of {SHORTEST} to {LONGEST} tokens, {tokens} in all: the tokens of each "
              f"alone; {at_once_s:.0f} s", flush=True)
    check(len({tuple(answer) for answer in alone}) > STREAMS // 2, "nearly all answers are the same: the test shows nothing")


main()
