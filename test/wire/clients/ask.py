"""ask.py URL MODEL: what OpenAI's own Python client makes of the endpoint, as one line of JSON."""
import json
import sys

import openai

url, model = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
messages = [{"role": "user", "content": "The old house stood by the river."}]
greedy = {"model": model, "temperature": 0}

raw = client.chat.completions.with_raw_response.create(messages=messages, max_completion_tokens=12, **greedy)
chat = raw.parse()
parts, usage = [], None
options = {"stream": True, "stream_options": {"include_usage": True}}
for chunk in client.chat.completions.create(messages=messages, max_completion_tokens=12, **greedy, **options):
    parts += [choice.delta.content or "" for choice in chunk.choices]
    usage = chunk.usage or usage
completion = client.completions.create(prompt="The", max_tokens=6, **greedy)
streamed = client.completions.create(prompt="The", max_tokens=6, stream=True, **greedy)


def refused(ask):
    try:
        ask()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param]
    return None


print(json.dumps({
    "version": openai.__version__,
    "digest": raw.headers["x-humanizer-adapter-digest"],
    "models": [each.id for each in client.models.list()],
    "model": client.models.retrieve(model).id,
    "chat": chat.choices[0].message.content,
    "finish": chat.choices[0].finish_reason,
    "usage": chat.usage.completion_tokens,
    "stream": "".join(parts),
    "streamUsage": usage and usage.completion_tokens,
    "completion": completion.choices[0].text,
    "completionStream": "".join(chunk.choices[0].text for chunk in streamed),
    "unknownModel": refused(lambda: client.chat.completions.create(model="gpt", messages=messages)),
    "tooWarm": refused(lambda: client.chat.completions.create(model=model, messages=messages, temperature=9)),
    "tooLong": refused(lambda: client.completions.create(model=model, prompt="word " * 4000)),
}))
