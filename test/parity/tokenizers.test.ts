/** Ids and chat templates of four families against transformers: make_tokenizers.py says what tokenizers.json holds. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { createChatTemplate, type Message } from '../../trainer-image/model/chat-template.ts'
import type { JsonObject } from '../../trainer-image/model/json.ts'
import { createTokenizer } from '../../trainer-image/model/tokenizer.ts'
import { ignoredLabel, renderExample } from '../../trainer-image/train/example.ts'

interface Family {
  readonly tokenizer: JsonObject
  readonly template: string
  readonly tokens: { readonly bos_token?: string; readonly eos_token: string }
  readonly endOfTurnIds: readonly number[]
  readonly ids: readonly (readonly number[])[]
  readonly rendered: readonly { readonly text: string; readonly ids: readonly number[] }[]
}
const golden = JSON.parse(readFileSync(new URL('golden/tokenizers.json', import.meta.url), 'utf8')) as {
  dateString: string
  texts: readonly string[]
  conversations: readonly { messages: readonly Message[]; generate: boolean }[]
  families: Readonly<Record<string, Family>>
}
const { dateString } = golden

for (const [name, family] of Object.entries(golden.families))
  suite(name, () => {
    const tokenizer = createTokenizer(name, family.tokenizer)
    const { bos_token: bos, eos_token: eos } = family.tokens
    const chatTemplate = createChatTemplate(name, family.template, { ...(bos !== undefined && { bos }), eos })
    const { normalizer } = family.tokenizer as { normalizer: { type: string } | null }
    const normal = (text: string) => (normalizer?.type === 'NFC' ? text.normalize('NFC') : text)

    for (const [i, text] of golden.texts.entries())
      test(`ids of ${JSON.stringify(text.slice(0, 30))}`, () => {
        assert.deepEqual([...tokenizer.encode(text)], family.ids[i])
        if (normal(text) !== text) return
        const { ids, ends } = tokenizer.encodeWithOffsets(text)
        assert.deepEqual([...ids], family.ids[i])
        assert.equal(ends.at(-1), text.length)
        for (const [k, end] of ends.entries()) assert.ok(end >= (ends[k - 1] ?? 0), `token ${k}`)
      })

    for (const [i, { messages, generate }] of golden.conversations.entries())
      test(`a conversation of ${messages.map(({ role }) => role).join(', ')}`, () => {
        const { text, ids } = family.rendered[i]!
        assert.equal(chatTemplate.render(messages, { addGenerationPrompt: generate, dateString }), text)
        assert.deepEqual([...tokenizer.encode(text)], ids)
        const expected = bos !== undefined && family.template.includes('bos_token') ? 1 : 0
        assert.equal(ids.filter((id) => bos !== undefined && id === tokenizer.idOf(bos)).length, expected)
      })

    test('an example is what transformers makes of the conversation, and the end of its turn is learnt', () => {
      const [user, assistant] = golden.conversations[1]!.messages
      const generation = { endOfTurnIds: family.endOfTurnIds, maxPositions: 4096 }
      const format = { sample: 'Paired', systemPrompt: '', userTemplate: '{text}' }
      const pair = { id: 'a', input: user!.content, target: assistant!.content, trainsOnInput: false }
      const { tokens, labels } = renderExample({ tokenizer, chatTemplate, generation, dateString }, format, pair)
      const { ids } = family.rendered[1]!
      assert.deepEqual([...tokens], ids.slice(0, tokens.length))
      assert.ok(family.endOfTurnIds.includes(tokens.at(-1)!))
      assert.equal(labels.at(-2), tokens.at(-1))
      const learnt = [...labels.filter((label) => label !== ignoredLabel)]
      assert.equal(tokenizer.decode(learnt), 'Hello, world! 👋')
      assert.equal(learnt.filter((id) => family.endOfTurnIds.includes(id)).length, 1)
    })
  })
