/** The three files of docs/demo, as they are or cut short. */
import { readFileSync } from 'node:fs'
import { dump, load } from 'js-yaml'

const folder = new URL('../../../docs/demo/', import.meta.url)
export const namesOfThree = ['1-dataset.yaml', '2-run.yaml', '3-release.yaml'] as const

/** Changes of spec that make the story a minute long; two steps may not beat the base, so the gate is left out. */
const shortened: Readonly<Record<string, object>> = {
  QLoRARun: {
    training: { maxSteps: 2 },
    evaluation: { everySteps: 1, maxExamples: 2, samples: 0 },
    checkpoints: { everySteps: 1 },
  },
  AdapterRelease: { gates: [] },
}

export function demoFile(name: (typeof namesOfThree)[number], short: boolean): string {
  const text = readFileSync(new URL(name, folder), 'utf8')
  if (!short) return text
  const object = load(text) as { kind: string; spec: Record<string, object> }
  for (const [field, value] of Object.entries(shortened[object.kind] ?? {}))
    object.spec[field] = Array.isArray(value) ? value : { ...object.spec[field], ...value }
  return dump(object)
}

/** The file server of corpus and model. */
export const fileServer = (image: string): string =>
  readFileSync(new URL('files.yaml', folder), 'utf8').replaceAll('FILES_IMAGE', image)
