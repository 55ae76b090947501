"""Chat templates: the embedded one, and Jinja as Hugging Face and vLLM render it."""

import json
import subprocess
import sys

import pytest
from tokenizer_support import characters, embedded, turn

from vllm_mock.protocol.chat_template import _keeps_parts
from vllm_mock.tokenizer import ChatTemplateError

USER = turn("user", "hi")
CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"city": "Köln"}}}]
CONVERSATION = [
    turn("system", "Be kind."),
    turn("developer", "Be brief."),
    turn("user", "What is\n\n 2 + 2? "),
    turn("assistant", " 4\n", reasoning="easy"),
    turn("user", [{"type": "text", "text": "And the weather?"}, {"type": "image_url", "image_url": {"url": "x"}}]),
    turn("assistant", None, tool_calls=CALLS),
    turn("tool", "sunny", tool_call_id="c1"),
    turn("assistant", "Sunny."),
    turn("user", "Thanks"),
]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "<über>"}}]


def test_every_role_has_its_token():
    assert embedded().apply_chat_template(CONVERSATION) == (
        "<s><|system|>Be kind.</s><|system|>Be brief.</s><|user|>What is\n\n 2 + 2? </s>"
        "<|assistant|><think>easy</think> 4\n</s><|user|>And the weather?\n<|image|></s>"
        '<|assistant|><tool_call>{"name": "f", "arguments": {"city": "Köln"}}</tool_call></s><|tool|>sunny</s>'
        "<|assistant|>Sunny.</s><|user|>Thanks</s><|assistant|>"
    )


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [('{"a":1}', '{"a":1}'), ("", "{}"), ({}, "{}"), (None, "{}"), ({"a": [1, "é"]}, '{"a": [1, "é"]}')],
)
def test_arguments_of_a_call_may_be_text_or_an_object(arguments, shown):
    calls = [{"function": {"name": "g", "arguments": arguments}}, *CALLS]
    prompt = embedded().apply_chat_template([turn("assistant", "Wait.", tool_calls=calls)])
    assert prompt.startswith(f'<s><|assistant|>Wait.<tool_call>{{"name": "g", "arguments": {shown}}}</tool_call><tool_')


def test_tools_and_documents_come_first():
    prompt = embedded().apply_chat_template([USER], tools=TOOLS, documents=[{"text": "d"}])
    tools, documents, rest = prompt.split("</s>", 2)
    assert tools.startswith("<s><|system|>These functions can be called with <tool_call>")
    assert tools.splitlines()[1:] == [json.dumps(TOOLS[0], ensure_ascii=False)]
    assert documents == '<|system|>These documents may help:\n{"text": "d"}'
    assert rest == "<|user|>hi</s><|assistant|>"


@pytest.mark.parametrize("tools", [None, TOOLS])
def test_a_continuation_begins_with_the_ids_of_what_came_before(tools):
    tokenizer = embedded()
    whole = tokenizer.apply_chat_template(CONVERSATION, tools=tools)
    for length in range(1, len(CONVERSATION)):
        ids = tokenizer.encode(
            tokenizer.apply_chat_template(CONVERSATION[:length], tools=tools, add_generation_prompt=False), False
        )
        assert tokenizer.encode(whole, False)[: len(ids)] == ids


def test_an_answer_with_its_end_continues_the_prompt():
    render = embedded().apply_chat_template
    assert render([USER, turn("assistant", "yo"), USER]).startswith(render([USER]) + "yo</s>")


@pytest.mark.parametrize("content", ["yo", " yo ", "", "a</s>b", [{"type": "text", "text": "yo"}]])
def test_continued_message_ends_the_prompt(content):
    prompt = embedded().apply_chat_template(
        [USER, turn("assistant", content)], add_generation_prompt=False, continue_final_message=True
    )
    text = content if isinstance(content, str) else "yo"
    assert prompt == f"<s><|user|>hi</s><|assistant|>{text}"


@pytest.mark.parametrize(
    ("template", "content", "prompt"),
    [
        ("{% for m in messages %}{{ m.role }}{{ m.content.strip() }}|{% endfor %}", "x ", "userx"),
        ("{% for m in messages %}{{ m.role }} {{ m.content }} |{% endfor %}", " x ", "user  x "),
        ("{{ messages[-1].content }}A{{ messages[-1].content }}", "y", "yAy"),
    ],
)
def test_continuing_with_templates_that_trim_or_repeat(template, content, prompt):
    rendered = characters().apply_chat_template(
        [turn("user", content)], chat_template=template, add_generation_prompt=False, continue_final_message=True
    )
    assert rendered == prompt


@pytest.mark.parametrize(("template", "content"), [("no content", "x"), ("{{ messages[-1].content }}", None)])
def test_continuing_what_is_not_shown_is_an_error(template, content):
    with pytest.raises(ChatTemplateError, match=r"^continue_final_message is set, but"):
        characters().apply_chat_template(
            [turn("assistant", content)], chat_template=template, continue_final_message=True
        )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 1/0 }}", "division by zero"),
        ("{{ x", "unexpected end of template, expected 'end of print statement'."),
        ("{% for %}", "Expected an expression, got 'end of statement block'"),
        ("{{ messages[0].zz.yy }}", "'dict object' has no attribute 'zz'"),
        ("{{ raise_exception('my words') }}", "my words"),
        ("{{ messages + 1 }}", 'can only concatenate list (not "int") to list'),
        ("{{ messages[0].__class__.__mro__ }}", "access to attribute '__class__' of 'dict' object is unsafe."),
        ("{{ messages.append(1) }}", "access to attribute 'append' of 'list' object is unsafe."),
        ("{{ nofunc() }}", "'nofunc' is undefined"),
        ("{% include 'a' %}", "no loader for this environment specified"),
    ],
)
def test_errors_are_the_templates_own_words(template, message):
    with pytest.raises(ChatTemplateError) as error:
        characters().apply_chat_template([USER], chat_template=template)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{{ messages|tojson }}", '[{"role": "user", "content": "hi"}]'),
        ("{{ '<é&>'|tojson }}", '"<é&>"'),
        ("{{ {'b': 1, 'a': 2}|tojson(indent=1, sort_keys=True) }}", '{\n "a": 2,\n "b": 1\n}'),
        ("{% generation %}a{% endgeneration %}", "a"),
        ("{{ bos_token }}{{ eos_token }}{{ pad_token }}", "<s></s>"),
        ("{{ tools }}|{{ documents }}|{{ add_generation_prompt }}|{{ foo }}", "None|None|True|é<"),
        ("{% for x in [1, 2] %}{{ x }}{% break %}{% endfor %}", "1"),
        ("{% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),
        ("{{ strftime_now('%%') }}", "%"),
        ("{{ messages[0].__class__ }}", ""),
        ("", "<|user|>hi<|assistant|>"),
    ],
)
def test_environment_is_hugging_faces(template, prompt):
    assert characters().apply_chat_template([USER], chat_template=template, foo="é<") == prompt


def test_variables_may_replace_special_tokens_but_not_the_conversation():
    render = characters().apply_chat_template
    assert render([USER], chat_template="{{ bos_token }}{{ self_ }}", bos_token="Q", self_="S") == "QS"
    with pytest.raises(ChatTemplateError, match="'messages'"):
        render([USER], chat_template="x", **{"messages": []})


def test_nothing_heavy_is_imported_before_a_tokenizer_is_loaded():
    code = (
        "import sys, vllm_mock.tokenizer; "
        "print(*{'tokenizers', 'jinja2', 'transformers', 'flask', 'numpy'} & set(sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == []


def test_the_embedded_template_takes_contents_as_text() -> None:
    """Else every message would be made a list of parts for it, and empty parts would count."""
    assert not _keeps_parts(embedded().chat_templates.values(), "auto")
