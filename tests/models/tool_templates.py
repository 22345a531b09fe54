"""Chat templates that write tool calls, in the formats that families of models have."""

_BEGINS = "{% if tools %}{{ '<|system|>\n' + tools | tojson + '<|end|>\n' }}{% endif %}"
_OPENS = "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
_TURN = "{{ '<|' + message.role + '|>\n' + message.content | default('', true) + '<|end|>\n' }}"

HERMES = (
    _BEGINS + "{% for message in messages %}{% if message.tool_calls %}{{ '<|assistant|>' }}"
    "{% if message.content %}{{ '\n' + message.content }}{% endif %}"
    "{% for call in message.tool_calls %}{% set call = call.function or call %}"
    '{{ \'\n<tool_call>\n{"name": "\' + call.name + \'", "arguments": \' }}'
    "{{ call.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}{{ '<|end|>\n' }}"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _OPENS
)
"""Text, then each call as JSON between tags, as Qwen2.5 and Hermes write them."""

LLAMA = (
    _BEGINS + "{% for message in messages %}{% if message.tool_calls %}"
    "{% if message.tool_calls | length != 1 %}"
    "{{ raise_exception('one call at a time') }}{% endif %}"
    "{% set call = message.tool_calls[0].function %}"
    '{{ \'<|assistant|>\n{"name": "\' + call.name + \'", "parameters": \' }}'
    "{{ call.arguments | tojson }}{{ '}<|end|>' }}"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _OPENS
)
"""One call as JSON, without the text, as Llama 3.1 writes it."""

MISTRAL = (
    _BEGINS + "{% for message in messages %}{% if message.tool_calls %}{{ '<|tool|> [' }}"
    "{% for call in message.tool_calls %}"
    "{% if not call.id or call.id | length != 9 %}"
    "{{ raise_exception('ids of tool calls have 9 characters') }}{% endif %}"
    '{{ \'{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{ call.function.arguments | tojson }}{{ ', \"id\": \"' + call.id + '\"}' }}"
    "{{ ', ' if not loop.last }}{% endfor %}{{ ']<|end|>' }}"
    "{% elif message.role == 'user' %}{{ '<|user|> ' + message.content + '<|system|>' }}"
    "{% else %}{{ ' ' + message.content + '<|end|>' }}{% endif %}{% endfor %}"
)
"""A special token, then a list of calls with their ids, as Mistral writes them."""

NESTED = (
    _BEGINS + "{% for message in messages %}{% if message.tool_calls %}"
    "{{ '<|assistant|>\n' + message.content | default('', true) }}"
    "{% for call in message.tool_calls %}{{ '<call name=' + call.function.name + '>' }}"
    "{% for name, value in call.function.arguments | items %}"
    "{{ '<arg name=' + name + '>' }}{{ value if value is string else value | tojson }}"
    "{{ '</arg>' }}{% endfor %}{{ '</call>' }}{% endfor %}{{ '<|end|>\n' }}"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _OPENS
)
"""Each argument between tags of its own, as Qwen3-Coder writes them."""

NO_TOOLS = "{% for message in messages %}" + _TURN + "{% endfor %}" + _OPENS
"""ChatML without tools: calls are left out in silence."""
FIRST_CALL = HERMES.replace("in message.tool_calls %}{% set", "in message.tool_calls[:1] %}{% set")
"""Only the first of several calls is written."""
NAMES_ONLY = HERMES.replace("call.arguments | tojson", "'{}'")
"""Arguments are not written."""

TOOL_TEMPLATES = {"hermes": HERMES, "llama": LLAMA, "mistral": MISTRAL, "nested": NESTED}
