import type { Condition } from './source.ts'

/** What is known of a repository, so that a user need not know its columns. Every value yields to the source's own field. */
export interface Preset {
  readonly textColumn: string
  /** Of sources of pairs: the machine's answer beside the human's. */
  readonly inputColumn?: string
  /** Rows of one value stay on one side of the split. */
  readonly groupColumn?: string
  /** All must hold for a row to be human-written; empty means that the repository holds nothing else. */
  readonly human: readonly Condition[]
  /** Glob patterns of the files to read; empty means every file of a known format. */
  readonly files: readonly string[]
  /** SPDX expression, or empty where the repository states none. */
  readonly license: string
  /** What a person should know before using it; stands in the report. */
  readonly cautions: readonly string[]
}

/** Keyed by the repository's name on the Hugging Face Hub. */
const presets: Readonly<Record<string, Preset>> = {
  // Columns id, adv_source_id, source_id, model, decoding, repetition_penalty, attack, domain, title, prompt, generation.
  // Each human text stands there twelve times, eleven of them rewritten by an attack (homoglyphs, misspellings, DIPPER
  // paraphrases, …): model == "human" alone keeps eleven corrupt rows of twelve, and MD5 does not see that they are copies.
  // raid/evaluate.py calibrates on the same pair of conditions. test.csv has no labels.
  'liamdugan/raid': {
    textColumn: 'generation',
    groupColumn: 'source_id',
    human: [
      {
        column: 'model',
        values: ['human'],
        others: [
          ...['chatgpt', 'gpt4', 'gpt3', 'gpt2', 'llama-chat', 'mistral', 'mistral-chat', 'mpt', 'mpt-chat'],
          ...['cohere', 'cohere-chat'],
        ],
      },
      {
        column: 'attack',
        values: ['none'],
        others: [
          ...['alternative_spelling', 'article_deletion', 'homoglyph', 'insert_paragraphs', 'number', 'paraphrase'],
          ...['perplexity_misspelling', 'synonym', 'upper_lower', 'whitespace', 'zero_width_space'],
        ],
      },
    ],
    files: ['train.csv'],
    license: 'MIT',
    cautions: [
      'train.csv is 11.8 GB, because it holds every text under eleven attacks.',
      'The licence covers the collection; news, reviews, Reddit posts and books in it have their own owners.',
    ],
  },
  // Columns text, label ("human" or "ai"); train, validation and test as CSV.
  'silentone0725/ai-human-text-detection-v1': {
    textColumn: 'text',
    human: [{ column: 'label', values: ['human'], others: ['ai'] }],
    files: ['*.csv'],
    license: 'CC-BY-4.0',
    cautions: ['About 440 texts hold the words placeholder_url, and some hold remains of an assistant’s answer.'],
  },
  // Columns id, human_text, ai_text, instructions: each row holds a human and a machine answer to one instruction.
  'dmitva/human_ai_generated_text': {
    textColumn: 'human_text',
    inputColumn: 'ai_text',
    human: [],
    files: ['*.csv'],
    license: 'CC-BY-4.0',
    cautions: ['A million rows, highly repetitive: most fall to deduplication.'],
  },
  // Columns text, generated (0 human, 1 machine; written 0, 1 or 0.0, 1.0). The card states no licence.
  'NabeelShar/ai_and_human_text': {
    textColumn: 'text',
    human: [{ column: 'generated', values: ['0'], others: ['1'] }],
    files: ['*.csv'],
    license: '',
    cautions: ['The repository states no licence. Most texts are student essays.'],
  },
  // Column text, human-written throughout. The licence is that of Wikipedia's articles.
  'badhanr/wikipedia_human_written_text': {
    textColumn: 'text',
    human: [],
    files: [],
    license: 'CC-BY-SA-4.0',
    cautions: ['Share-alike licence, encyclopaedic register, remains of wiki markup.'],
  },
}

/** The Hub finds a repository however its name is capitalised; so do we, or its machine-written rows would pass for human. */
export function presetOf(repository: string): Preset | undefined {
  const name = Object.keys(presets).find((known) => known.toLowerCase() === repository.toLowerCase())
  return name === undefined ? undefined : presets[name]
}
