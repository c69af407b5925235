import type { SampleFormat } from '#proto/humanizer/trainer/v1/preparation.ts'

const DEFAULT_SYSTEM_PROMPT =
  'You are a skilled writer. Rewrite the given text so it sounds natural, fluent and human-written while keeping its meaning.'
const DEFAULT_USER_TEMPLATE = 'Rewrite the following text in a natural, human-written style:\n\n{text}'

/** The prompt that the adapter was trained with; the documented one for a release whose dataset is not known. */
export function rewriteFormat(format: SampleFormat | undefined): SampleFormat {
  if (format?.userTemplate) return format
  return { sample: 'Denoise', systemPrompt: DEFAULT_SYSTEM_PROMPT, userTemplate: DEFAULT_USER_TEMPLATE }
}

/** Tokens that a rewrite may take when the caller sets no limit: twice the text, and room for a short one to grow. */
export function rewriteTokens(textTokens: number): number {
  return 2 * textTokens + 64
}
