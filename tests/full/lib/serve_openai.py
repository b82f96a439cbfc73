"""usage: serve_openai.py LONGSPAN MODEL GOLDENS

The openai package with `longspan serve`: answers and streams of both endpoints, n, log-probabilities, stop, seed, tools,
JSON held to 100 random schemas, usage, and each error as the package's own exception. Exit status 1 when not so.
"""
import concurrent.futures
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading

import jsonschema
import openai
import pydantic

import random_schemas
from server_process import Server, check

KEY = "a key of this test"
SCHEMAS, PARALLEL = 100, 8
MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "What spans a river?"}]
PROMPT = "The bridge over the river"
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather of some days", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
                                         "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"], "additionalProperties": False}}},
    {"type": "function", "function": {"name": "now", "parameters": {
        "type": "object", "properties": {"zone": {"enum": ["utc", "local"]}}, "required": ["zone"],
        "additionalProperties": False}}},
]


def passed(what):
    print(what, flush=True)


class Client:
    """The package, with this server's model and few tokens where nothing else is said."""

    def __init__(self, server, key=KEY):
        self.api = openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=600)
        self.model = server.ask("GET", "/health")[1]["model"]

    def chat(self, **fields):
        return self.api.chat.completions.create(**{"model": self.model, "messages": MESSAGES, "max_completion_tokens": 24, **fields})

    def complete(self, **fields):
        return self.api.completions.create(**{"model": self.model, "prompt": PROMPT, "max_tokens": 24, **fields})

    def chat_stream(self, **fields):
        """The choices of a streamed chat put together: text, tool calls, log-probabilities and reason of each; and usage."""
        usage, choices = None, {}
        for chunk in self.chat(stream=True, stream_options={"include_usage": True}, **fields):
            check(usage is None, "a chunk after that with usage")
            usage = chunk.usage
            check((usage is not None) == (chunk.choices == []), f"chunk with usage and choices, or neither: {chunk}")
            for choice in chunk.choices:
                whole = choices.setdefault(choice.index, {"role": "", "text": "", "calls": {}, "logprobs": [], "reason": None})
                check(whole["reason"] is None, "a chunk of a choice after its end")
                whole["role"] += choice.delta.role or ""
                whole["text"] += choice.delta.content or ""
                whole["logprobs"] += (choice.logprobs.content or []) if choice.logprobs else []
                whole["reason"] = choice.finish_reason
                for part in choice.delta.tool_calls or []:
                    call = whole["calls"].setdefault(part.index, {"id": part.id, "name": "", "arguments": ""})
                    call["name"] += part.function.name or ""
                    call["arguments"] += part.function.arguments or ""
        return [choices[index] for index in sorted(choices)], usage

    def complete_stream(self, **fields):
        usage, texts, reasons = None, {}, {}
        for chunk in self.complete(stream=True, stream_options={"include_usage": True}, **fields):
            usage = chunk.usage
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
                reasons[choice.index] = choice.finish_reason
        return [texts[index] for index in sorted(texts)], reasons, usage


def check_texts(client):
    check([model.id for model in client.api.models.list()] == [client.model], "the list of models")
    check(client.api.models.retrieve(client.model).id == client.model, "one model")
    for fields in ({"temperature": 0}, {"seed": 5, "n": 2}, {"seed": 5, "n": 2, "top_p": 0.9, "presence_penalty": 1}):
        whole = client.chat(**fields)
        check([choice.index for choice in whole.choices] == list(range(fields.get("n", 1))), f"choices of {fields}")
        streamed, usage = client.chat_stream(**fields)
        check([choice["text"] for choice in streamed] == [choice.message.content for choice in whole.choices],
              f"a streamed chat differs: {fields}")
        check([choice["reason"] for choice in streamed] == [choice.finish_reason for choice in whole.choices], "reasons")
        check(all(choice["role"] == "assistant" for choice in streamed), "a role once in each choice")
        check(usage == whole.usage, f"usage of the stream {usage}, of the answer {whole.usage}")
        again = client.chat(**fields)
        check([c.message.content for c in again.choices] == [c.message.content for c in whole.choices], f"not the same again: {fields}")

        whole = client.complete(**fields)
        texts, reasons, usage = client.complete_stream(**fields)
        check(texts == [choice.text for choice in whole.choices], f"a streamed completion differs: {fields}")
        check(list(reasons.values()) == [choice.finish_reason for choice in whole.choices], "reasons")
        check(usage == whole.usage and usage.prompt_tokens > 0, f"usage {usage}, {whole.usage}")
        check(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, f"usage {usage}")
        if fields.get("n"):
            check(texts[0] != texts[1], "two choices of the same text")
    check(client.complete(seed=1).choices[0].text != client.complete(seed=2).choices[0].text, "two seeds, one text")
    check(client.complete(prompt=["a", "b"], n=2, max_tokens=2).choices[3].index == 3, "prompts in a list")
    check(client.complete(echo=True).choices[0].text.startswith(PROMPT), "echo")
    check(client.chat()._request_id.startswith("req-"), "the request's id")
    passed("chat and completions, streamed and not, n, seed, usage")


def check_stop(client):
    text = client.complete(temperature=0, max_tokens=40).choices[0].text
    stop = text[len(text) // 2:len(text) // 2 + 3]
    want = text[:text.index(stop)]
    stopped = client.complete(temperature=0, max_tokens=40, stop=[stop, "never comes \x01"]).choices[0]
    check((stopped.text, stopped.finish_reason) == (want, "stop"), f"stopped at {stop!r}: {stopped}, not {want!r}")
    texts, reasons, _ = client.complete_stream(temperature=0, max_tokens=40, stop=stop)
    check((texts[0], reasons[0]) == (want, "stop"), f"streamed, stopped at {stop!r}: {texts}")
    passed("stop strings")


def check_logprobs(client):
    fields = {"logprobs": True, "top_logprobs": 5, "temperature": 0}
    choice = client.chat(**fields).choices[0]
    tokens = choice.logprobs.content
    check(b"".join(bytes(token.bytes) for token in tokens).decode(errors="replace").strip() == choice.message.content.strip(),
          f"log-probabilities of other text than {choice.message.content!r}")
    for token in tokens:
        tops = [top.logprob for top in token.top_logprobs]
        check(len(tops) == 5 and tops == sorted(tops, reverse=True) and tops[0] <= 0, f"likeliest tokens {tops}")
        check(token.logprob == tops[0] and token.token == token.top_logprobs[0].token, "the likeliest was not chosen")
    streamed, _ = client.chat_stream(**fields)
    check(streamed[0]["logprobs"] == tokens, "streamed log-probabilities differ")
    of_text = client.complete(logprobs=3, temperature=0).choices[0]
    check("".join(of_text.logprobs.tokens) == of_text.text, "tokens of a completion")
    check(all(len(tops) >= 3 for tops in of_text.logprobs.top_logprobs), "likeliest tokens of a completion")
    check(of_text.logprobs.text_offset[0] == 0, "offsets")
    passed("log-probabilities")


def check_call(name, arguments):
    tool = {tool["function"]["name"]: tool["function"] for tool in TOOLS}[name]
    jsonschema.Draft202012Validator(tool["parameters"]).validate(json.loads(arguments))


def check_tools(client):
    named = {"type": "function", "function": {"name": "now"}}
    for choice in ("required", named, "auto", "none"):
        for seed in range(3):
            fields = {"tools": TOOLS, "tool_choice": choice, "seed": seed, "max_completion_tokens": 100}
            answer = client.chat(**fields).choices[0]
            streamed = client.chat_stream(**fields)[0][0]
            calls = [(call.function.name, call.function.arguments) for call in answer.message.tool_calls or []]
            check(calls == [(call["name"], call["arguments"]) for call in streamed["calls"].values()], f"streamed calls differ: {streamed}")
            check(streamed["text"] == (answer.message.content or ""), "streamed text beside calls differs")
            check(streamed["reason"] == answer.finish_reason == ("tool_calls" if calls else answer.finish_reason), "the reason of a call")
            if choice in ("required", named):
                check(len(calls) == 1, f"tool_choice {choice}: {answer}")
                check_call(*calls[0])
                check(choice == "required" or calls[0][0] == "now", f"another function than {choice}: {calls}")
            if choice == "none":
                check(not calls, f"a call with tool_choice none: {calls}")
    history = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{\"zone\": \"utc\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"}]
    check(client.chat(messages=history, tools=TOOLS).choices, "a conversation with a call")
    passed(f"tools: forced calls keep to their schemas, {client.model}")


class Bridge(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    spans: int
    kind: str | None = pydantic.Field(max_length=10)


def check_schemas(client):
    for seed in range(3):
        text = client.chat(response_format={"type": "json_object"}, seed=seed, max_completion_tokens=60).choices[0].message.content
        check(isinstance(json.loads(text), dict), f"no JSON object: {text!r}")
    parsed = client.api.chat.completions.parse(model=client.model, messages=MESSAGES, response_format=Bridge, max_completion_tokens=100)
    check(isinstance(parsed.choices[0].message.parsed, Bridge), "a pydantic model as response_format")
    source = random.Random(20)

    def ask(number, schema):
        fields = {"response_format": {"type": "json_schema", "json_schema": {"name": f"s{number}", "schema": schema, "strict": True}},
                  "seed": number, "max_completion_tokens": 200}
        text = client.chat_stream(**fields)[0][0]["text"] if number % 2 else client.chat(**fields).choices[0].message.content
        try:
            jsonschema.Draft202012Validator(schema).validate(json.loads(text))
        except (ValueError, jsonschema.ValidationError) as error:
            return f"{json.dumps(schema)}: {text!r}: {error}"
        return None

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        wrong = [w for w in pool.map(ask, range(SCHEMAS), [random_schemas.root_schema(source) for _ in range(SCHEMAS)]) if w]
    check(not wrong, f"{len(wrong)} of {SCHEMAS} answers do not keep to their schema, such as {wrong[:1]}")
    passed(f"json_object, pydantic, {SCHEMAS} random JSON schemas: every answer parses and validates")


def expect(kind, status, call, param=None, code=None):
    """The call raises that exception, with a message and that param and code."""
    try:
        call()
    except openai.APIStatusError as error:
        check(type(error) is kind and error.status_code == status, f"{type(error)} {error.status_code}: {error}, not {kind} {status}")
        check(isinstance(error.body, dict) and error.body["message"] and error.body["type"], f"body {error.body}")
        check(error.param == param and error.code == code, f"param {error.param}, code {error.code}: {error}")
        return error
    check(False, f"no {kind}")
    return None


def check_errors(server, client):
    bad = openai.BadRequestError
    expect(bad, 400, lambda: client.chat(temperature=9), "temperature")
    expect(bad, 400, lambda: client.chat(messages=[]), "messages")
    expect(bad, 400, lambda: client.chat(messages=[{"role": "user", "content": 5}]), "messages[0].content")
    expect(bad, 400, lambda: client.chat(tool_choice="required"), "tool_choice")
    expect(bad, 400, lambda: client.complete(suffix="b"), "suffix")
    expect(bad, 400, lambda: client.complete(prompt=[10 ** 6]), "prompt")
    expect(bad, 400, lambda: client.complete(max_tokens=10 ** 7), "prompt")
    expect(bad, 400, lambda: client.chat(response_format={"type": "json_schema", "json_schema": {
        "name": "s", "schema": {"not": {"type": "string"}}}}), "response_format.json_schema.schema")
    expect(openai.AuthenticationError, 401, lambda: Client(server, "another key").chat(), None, "invalid_api_key")
    expect(openai.NotFoundError, 404, lambda: client.chat(model="another"), "model", "model_not_found")
    expect(openai.NotFoundError, 404, lambda: client.api.embeddings.create(model=client.model, input="a"))
    expect(openai.APIStatusError, 405, lambda: client.api.get("/completions", cast_to=object))
    expect(openai.APIStatusError, 413, lambda: client.complete(prompt="a" * (17 << 20)))
    expect(openai.InternalServerError, 504, lambda: client.complete(
        max_tokens=2000, extra_body={"timeout": 0.05, "ignore_eos": True}))
    passed("errors: 400 with their param, 401, 404, 405, 413, 504")


def check_full_and_ending(longspan, model):
    server = Server(longspan, model, "--kv-bytes", "16M", "--max-sequences", "1", "--max-queue", "1", "--drain-timeout", "300ms")
    with server:
        client = Client(server)
        long = {"stream": True, "max_tokens": 4000, "extra_body": {"ignore_eos": True}}
        running = client.complete(**long)
        next(running)
        server.wait_for(lambda: server.ask("GET", "/v1/cluster")[1]["decoding"] == 1, "a running request")
        outcome = []

        def wait():
            try:
                list(client.complete(**long))
            except openai.OpenAIError as error:
                outcome.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        server.wait_for(lambda: server.ask("GET", "/v1/cluster")[1]["waiting"] == 1, "a waiting request")
        error = expect(openai.RateLimitError, 429, client.complete)
        check(int(error.response.headers["retry-after"]) >= 1, "Retry-After")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("(draining)")
        expect(openai.InternalServerError, 503, client.complete)
        try:
            list(running)
            check(False, "an answer that was cut short ended in order")
        except openai.APIError as error:
            check("shutting down" in str(error), f"the error in the midst of a stream: {error}")
        waiting.join()
        check(isinstance(outcome[0], openai.InternalServerError), f"a request that waits while the server ends: {outcome}")
        check(server.process.wait(30) == 0, "exit status after SIGTERM")
    passed("errors: 429 with Retry-After, 503, and one in the midst of a stream")


def main():
    longspan, model, goldens = sys.argv[1:]
    tiny = os.path.join(goldens, "llama3-gqa")
    check_full_and_ending(longspan, tiny)
    with tempfile.NamedTemporaryFile("w") as keys:
        keys.write(hashlib.sha256(KEY.encode()).hexdigest() + "\n")
        keys.flush()
        server = Server(longspan, model, "--kv-bytes", "256M", "--api-key-file", keys.name)
    with server:
        client = Client(server)
        for checks in (check_texts, check_stop, check_logprobs, check_tools, check_schemas):
            checks(client)
        check_errors(server, client)
        check(server.end() == 0, "exit status after SIGTERM")
    # Each has another template, and so another way to write a call; random weights write any text but for the schema.
    for name in ("llama3-gqa", "qwen3-qknorm", "mistral-swa"):
        with Server(longspan, os.path.join(goldens, name), "--kv-bytes", "16M") as server:
            check_tools(Client(server))
            check(server.end() == 0, "exit status after SIGTERM")


main()
