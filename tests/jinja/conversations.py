"""Conversations that chat templates are tried with: plain ones, tools, content in parts, and wrong ones."""

import copy

SYSTEM = {"role": "system", "content": "  You are terse.\nAnswer in one line. "}
USER = {"role": "user", "content": "What is 2 + 2?\n"}
ANSWER = {"role": "assistant", "content": "It is 4."}
THANKS = {"role": "user", "content": "Thanks <b>\"you\"</b> & 'all' é 漢字 🙂"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a place.\nMay be \"wrong\".",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The place's name"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 18446744073709551615},
                "where": {
                    "type": "object",
                    "properties": {"lat": {"type": "number"}, "lon": {"type": ["number", "null"]}},
                    "required": ["lat"],
                },
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["city"],
        },
        "return": {"type": "string"},
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "Tells the time.",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}


def call(name, arguments, call_id):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_turns(as_text):
    """A question that takes two calls of tools; `as_text`: arguments are JSON texts, as OpenAI's API has them."""
    first = {"city": "Łódź", "days": 2, "where": {"lat": 51.75, "lon": None}, "tags": ["a", "b"]}
    text = '{"city": "Łódź", "days": 2}'
    return [
        SYSTEM,
        {"role": "user", "content": "How is the weather, and when?"},
        {"role": "assistant", "content": "",
         "tool_calls": [call("get_weather", text if as_text else first, "abcdef123")]},
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": '{"temperature": 21.5}'},
        {"role": "assistant", "content": "And the time:", "tool_calls": [
            call("clock", "{}" if as_text else {}, "abcdef124"),
            call("get_weather", text if as_text else first, "abcdef125")]},
        {"role": "tool", "name": "clock", "tool_call_id": "abcdef124", "content": "14:07"},
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef125", "content": "rain"},
        {"role": "assistant", "content": "21.5 degrees, 14:07."},
        {"role": "user", "content": "Thanks."},
    ]


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


CONVERSATIONS = {
    "plain": [USER],
    "system": [SYSTEM, USER],
    "two turns": [USER, ANSWER, THANKS],
    "many turns": [SYSTEM] + [USER, ANSWER, THANKS, {"role": "assistant", "content": " You are welcome. "}] * 4 + [USER],
    "answered": [SYSTEM, USER, ANSWER],
    "thinking": [
        USER,
        {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\nIt is 4."},
        THANKS,
        {"role": "assistant", "content": "Welcome.", "reasoning_content": "Be polite.\n", "thinking": "Be polite.\n"},
        USER,
    ],
    "developer": [{"role": "developer", "content": "Be brief."}, USER],
    "parts": [
        {"role": "system", "content": parts("Be brief.")},
        {"role": "user", "content": parts("One, ", "two.") + [{"type": "image"}]},
        {"role": "assistant", "content": parts("Three.")},
        {"role": "user", "content": parts("Four?")},
    ],
    "tool calls": tool_turns(as_text=False),
    "tool calls as text": tool_turns(as_text=True),
    "call without content": [
        USER, {"role": "assistant", "content": None, "tool_calls": [call("clock", {}, "abcdef126")]},
        {"role": "tool", "tool_call_id": "abcdef126", "content": parts("14:07")}, USER],
    "two users": [USER, USER],
    "answer first": [ANSWER, USER],
    "late system": [USER, SYSTEM, USER],
    "unknown role": [{"role": "king", "content": "Obey."}, USER],
    "without content": [{"role": "user"}],
    "null content": [{"role": "user", "content": None}],
    "number as content": [{"role": "user", "content": 4.0}],
    "empty content": [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    "nothing": [],
    "not a message": ["hello"],
}

# Beside the messages.
SETTINGS = {
    "": {},
    "continued": {"add_generation_prompt": False},
    "tools": {"tools": [WEATHER, CLOCK]},
    "extras": {
        "tools": [CLOCK], "enable_thinking": False, "thinking": True, "date_string": "1 Jan 2024",
        "documents": [{"title": "Sums", "text": "2 + 2 = 4"}, {"title": "More", "text": "3 + 3 = 6"}],
        "custom_tools": [WEATHER], "builtin_tools": ["code_interpreter"], "reasoning_effort": "low",
        "tools_in_user_message": False, "xml_tools": [WEATHER], "keep_past_thinking": True,
        "datetime": "Tuesday", "functions": "[]",
    },
}


def all_conversations():
    """(name, variables) of each."""
    for setting, extra in SETTINGS.items():
        for name, messages in CONVERSATIONS.items():
            variables = {
                "messages": messages, "tools": None, "documents": None, "add_generation_prompt": True,
                "bos_token": "<s>", "eos_token": "</s>"}
            variables.update(extra)
            yield f"{name}{', ' + setting if setting else ''}", copy.deepcopy(variables)
