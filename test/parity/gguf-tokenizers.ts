/** The SentencePiece tokenizers among those of tokenizers.json, as GGUF files of nothing else, and texts to cut with them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createChatTemplate } from '../../trainer-image/model/chat-template.ts'
import { ggufTokenizerMetadata } from '../../trainer-image/model/gguf-tokenizer-write.ts'
import { ggufHeader } from '../../trainer-image/model/gguf-write.ts'
import type { JsonObject } from '../../trainer-image/model/json.ts'

interface Golden {
  readonly texts: readonly string[]
  readonly families: Readonly<
    Record<string, { readonly tokenizer: JsonObject; readonly rendered: readonly { readonly text: string }[] }>
  >
}
const golden = JSON.parse(readFileSync(join(import.meta.dirname, 'golden', 'tokenizers.json'), 'utf8')) as Golden

/** By name, with their number of tokens. */
export const sentencePieces: readonly (readonly [string, number])[] = [
  ['mistral-v0.3', 32768],
  ['phi-3', 32064],
]

export const tokenizerOf = (family: string): JsonObject => golden.families[family]!.tokenizer

/** Each begins with a special token, as conversations do. */
export const textsOf = (family: string): string[] => [
  ...golden.texts.map((text) => `<s>${text}`),
  ...golden.families[family]!.rendered.map(({ text }) => text),
]

export async function vocabularyFile(family: string, vocabularySize: number): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'gguf-tokenizer-'))
  const path = join(folder, 'tokenizer.json')
  writeFileSync(path, JSON.stringify(tokenizerOf(family)))
  const architecture = { vocabularySize } as Parameters<typeof ggufTokenizerMetadata>[1]['architecture']
  const generation = { bosId: 1, endOfTurnIds: [2], maxPositions: 1 }
  const chatTemplate = createChatTemplate('', '', { eos: '</s>' })
  try {
    const metadata = await ggufTokenizerMetadata(path, { architecture, generation, chatTemplate })
    return Buffer.concat(ggufHeader({ 'general.architecture': 'llama', ...metadata }, []))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
