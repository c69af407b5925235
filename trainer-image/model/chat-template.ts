/** A model's own chat template. The date that some templates print is pinned, so that training and serving render the same tokens on any day. */
import { Environment, Interpreter, Template } from '@huggingface/jinja'
import { JobFailure } from '../job/failure.ts'
import { formatDate } from './strftime.ts'

export interface Message {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export interface RenderOptions {
  /** Ends the text with the beginning of the assistant's turn. */
  readonly addGenerationPrompt: boolean
  /** The day that templates see as today, such as "2026-11-24" or "26 Jul 2024". */
  readonly dateString: string
}

export interface ChatTemplate {
  /** The template's text; its digest is part of an adapter's identity. */
  readonly source: string
  /** The conversation as one text; special tokens stand in it by name and Tokenizer.encode makes single ids of them. */
  render(messages: readonly Message[], options: RenderOptions): string
}

/** Special tokens that templates refer to by name, as text. */
export interface TemplateTokens {
  readonly bos?: string
  readonly eos?: string
  readonly pad?: string
  readonly unknown?: string
}

/** What a template says with raise_exception, such as "System role not supported". */
class TemplateRefusal extends Error {}

/** The limit of Python's sandboxed Jinja, under which transformers renders. */
const MAX_RANGE = 100_000

/** Jinja's own names as transformers offers them. Template.render would bind them itself and take the date from the clock. */
const language = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  tools: null,
  documents: null,
  range: (start: number, stop?: number, step = 1): number[] => {
    const [from, to] = stop === undefined ? [0, start] : [start, stop]
    const length = Math.max(0, Math.ceil((to - from) / step))
    if (!(length <= MAX_RANGE)) throw new RangeError(`range of ${length}; expected at most ${MAX_RANGE}`)
    return Array.from({ length }, (_, i) => from + i * step)
  },
  raise_exception: (message: string) => {
    throw new TemplateRefusal(message)
  },
}

/**
 * Compiles a template. A conversation that begins with a system message which the template refuses, or silently leaves out, is rendered with that
 * message at the head of the first user turn.
 */
export function createChatTemplate(path: string, source: string, tokens: TemplateTokens): ChatTemplate {
  const invalid = (error: unknown) =>
    new JobFailure('SourceInvalid', `${path}: chat template: ${(error as Error).message}`, { cause: error })
  let template: Template
  try {
    template = new Template(source)
  } catch (error) {
    throw invalid(error)
  }
  const renderAsIs = (messages: readonly Message[], { addGenerationPrompt, dateString }: RenderOptions): string => {
    const scope = {
      ...language,
      bos_token: tokens.bos ?? '',
      eos_token: tokens.eos ?? '',
      pad_token: tokens.pad ?? '',
      unk_token: tokens.unknown ?? '',
      messages: messages.map((message) => ({ ...message })),
      add_generation_prompt: addGenerationPrompt,
      date_string: formatDate('%d %b %Y', dateString),
      strftime_now: (format: string) => formatDate(format, dateString),
    }
    const environment = new Environment()
    for (const [name, value] of Object.entries(scope)) environment.set(name, value)
    const text = (new Interpreter(environment).run(template.parsed) as { value: string }).value
    return withOneBos(text, tokens.bos)
  }
  return {
    source,
    render(messages, options) {
      const system = messages[0]?.role === 'system' ? messages[0].content : undefined
      try {
        const text = renderAsIs(messages, options)
        if (system === undefined || text.includes(system.trim())) return text
      } catch (error) {
        if (system === undefined || !(error instanceof TemplateRefusal)) throw invalid(error)
      }
      try {
        return renderAsIs(foldSystem(messages), options)
      } catch (error) {
        throw invalid(error)
      }
    },
  }
}

/** Moves the system message to the head of the first user turn. */
export function foldSystem(messages: readonly Message[]): readonly Message[] {
  const [system, ...rest] = messages
  const first = rest.findIndex(({ role }) => role === 'user')
  if (system?.role !== 'system' || first < 0) return messages
  return rest.map((message, i) =>
    i === first ? { ...message, content: `${system.content}\n\n${message.content}` } : message,
  )
}

/** Nobody adds a BOS token after rendering, so one in the text is one in the ids; a template that writes it twice loses the second. */
function withOneBos(text: string, bos: string | undefined): string {
  let once = text
  while (bos && once.startsWith(bos + bos)) once = once.slice(bos.length)
  return once
}
