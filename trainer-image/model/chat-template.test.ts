import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createChatTemplate, type Message } from './chat-template.ts'
import { formatDate } from './strftime.ts'

const conversation: readonly Message[] = [
  { role: 'system', content: ' Be brief. ' },
  { role: 'user', content: ' Hi “you” \n' },
  { role: 'assistant', content: 'Hello' },
  { role: 'user', content: 'Bye' },
]

/** Written for these tests in the manner of each family; the expected texts are what Python's Jinja2 3.1.6 renders. */
const templates = {
  chatml:
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nDefault<|im_end|>\\n' }}{% endif %}" +
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  dated: `{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "01 Jan 1970" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|head|>system<|/head|>\\n\\nToday: " + date_string + "\\n\\n" + system_message + "<|eot|>" }}
{%- for message in messages %}
    {{- '<|head|>' + message['role'] + '<|/head|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|/head|>\\n\\n' }}
{%- endif %}
`,
  refusesSystem: `{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{%- if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}
{%- endfor %}`,
  dropsSystem:
    "{% for message in messages %}{% if message.role == 'user' %}<u>{{ message.content }}</u>\n{% elif message.role == 'assistant' %}" +
    '<a>{{ message.content }}</a>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}',
  twoBos:
    "{{ bos_token + bos_token }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}",
}

const render = (source: string, messages: readonly Message[], addGenerationPrompt = true) =>
  createChatTemplate('test', source, { bos: '<s>', eos: '</s>' }).render(messages, {
    addGenerationPrompt,
    dateString: '2024-07-26',
  })

const turns =
  '<|im_start|>user\n Hi “you” \n<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n'
const dated =
  '<|head|>user<|/head|>\n\nHi “you”<|eot|><|head|>assistant<|/head|>\n\nHello<|eot|><|head|>user<|/head|>\n\nBye<|eot|>'
const cases: { a_template: string; source: string; messages?: readonly Message[]; prompt?: boolean; want: string }[] = [
  {
    a_template: 'of the ChatML kind writes each turn',
    source: templates.chatml,
    want: `<|im_start|>system\n Be brief. <|im_end|>\n${turns}<|im_start|>assistant\n`,
  },
  {
    a_template: 'of the ChatML kind brings its own system turn when none is given',
    source: templates.chatml,
    messages: conversation.slice(1),
    prompt: false,
    want: `<|im_start|>system\nDefault<|im_end|>\n${turns}`,
  },
  {
    a_template: 'of the Llama 3.2 kind shows the pinned day, not today',
    source: templates.dated,
    want: `<s><|head|>system<|/head|>\n\nToday: 26 Jul 2024\n\nBe brief.<|eot|>${dated}<|head|>assistant<|/head|>\n\n`,
  },
  {
    a_template: 'that asks strftime_now itself gets the pinned day too',
    source: '{{ strftime_now("%A %Y-%m-%d") }}{% for m in messages %}{{ m.content }}{% endfor %}',
    messages: [],
    want: 'Friday 2024-07-26',
  },
  {
    a_template: 'that refuses a system role gets it at the head of the first user turn',
    source: templates.refusesSystem,
    want: '<s>[INST]  Be brief. \n\n Hi “you” \n [/INST]Hello</s>[INST] Bye [/INST]',
  },
  {
    a_template: 'that silently drops the system role gets it at the head of the first user turn',
    source: templates.dropsSystem,
    want: '<u> Be brief. \n\n Hi “you” \n</u>\n<a>Hello</a>\n<u>Bye</u>\n<a>',
  },
  {
    a_template: 'that writes BOS twice loses the second',
    source: templates.twoBos,
    messages: [{ role: 'user', content: 'Hi' }],
    want: '<s>user: Hi',
  },
]
for (const { a_template, source, messages = conversation, prompt = true, want } of cases)
  test(`a template ${a_template}`, () => assert.equal(render(source, messages, prompt), want))

test('what a template refuses for another reason is said', () => {
  const twice: readonly Message[] = [conversation[1]!, conversation[1]!]
  assert.throws(() => render(templates.refusesSystem, twice), {
    reason: 'SourceInvalid',
    message: /Roles must alternate/,
  })
})

test('a template cannot ask for a range without end', () => {
  assert.equal(render('{% for i in range(1, 8, 3) %}{{ i }}{% endfor %}', []), '147')
  for (const length of ['1000000000', '1, 2, 0'])
    assert.throws(() => render(`{% for i in range(${length}) %}x{% endfor %}`, []), {
      reason: 'SourceInvalid',
      message: /range of /,
    })
})

test('a template that does not parse is SourceInvalid', () => {
  assert.throws(() => createChatTemplate('model', '{% if %}', {}), {
    reason: 'SourceInvalid',
    message: /^model: chat template: /,
  })
})

test('days are formatted as strftime does, in either spelling', () => {
  assert.equal(
    formatDate('%d %b %Y|%B %m %y|%a %A|%H:%M:%S|%%|%Q', '26 Jul 2024'),
    '26 Jul 2024|July 07 24|Fri Friday|00:00:00|%|%Q',
  )
  assert.equal(formatDate('%d %b %Y', '2026-01-02'), '02 Jan 2026')
  assert.throws(() => formatDate('%d', 'yesterday'), {
    reason: 'ConfigurationInvalid',
    message: /dateString is "yesterday"/,
  })
})
