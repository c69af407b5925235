import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import type { CheckedItem } from '../evaluate/report.ts'

/** What is known of a run when it ends. */
export interface ChecklistFacts {
  readonly objective: string
  /** Licence of each source of the dataset, empty where none is declared; undefined when the dataset has no report. */
  readonly licenses: readonly string[] | undefined
  readonly trainExamples: number
  readonly validationExamples: number
  readonly baseline: EvaluationResult | undefined
  readonly configDigest: string
  /** The best checkpoint, and whether its files were read back and wrote the samples. */
  readonly best: { readonly name: string; readonly digest: string; readonly wrote: boolean } | undefined
  readonly measured: number
}

const byPerson = (item: string, evidence: string): CheckedItem => ({ item, done: false, evidence })

/** The experiment checklist as far as a trainer can tell: what only a person or a release can do is open. */
export function checklistOf(facts: ChecklistFacts): CheckedItem[] {
  const { objective, licenses, trainExamples, validationExamples, baseline, configDigest, best, measured } = facts
  const undeclared = licenses?.filter((license) => license === '').length
  return [
    { item: 'Objective defined', done: objective !== '', evidence: objective || 'spec.objective is empty' },
    {
      item: 'Data licences declared',
      done: licenses !== undefined && licenses.length > 0 && undeclared === 0,
      evidence: licenses?.map((license) => license || 'undeclared').join(', ') ?? 'the dataset has no report.json',
    },
    {
      item: 'Split created',
      done: validationExamples > 0,
      evidence: `${trainExamples} examples to train on, ${validationExamples} held out`,
    },
    byPerson('Deduplication report reviewed', 'a person reads report.md of the dataset'),
    {
      item: 'Baseline captured',
      done: baseline?.loss !== undefined,
      evidence: baseline?.loss === undefined ? 'no baseline' : `held-out loss ${baseline.loss.toFixed(4)} of the base`,
    },
    { item: 'Configuration documented', done: true, evidence: `run_config.json, ${configDigest || 'run by hand'}` },
    {
      item: 'Adapter saved and verified',
      done: best?.wrote === true,
      evidence: best
        ? `${best.name} ${best.digest}, ${best.wrote ? 'read back from its sealed files' : 'not read back'}`
        : 'no best checkpoint',
    },
    {
      item: 'Evaluated after training',
      done: measured > 0,
      evidence: measured > 0 ? `${measured} metrics of the best checkpoint's outputs` : 'no outputs were measured',
    },
    byPerson('Samples reviewed', 'a person reads this page'),
    byPerson('Deployment decided', 'an AdapterRelease names this run or its digest'),
    byPerson('Rollback tested', 'the release switches back and forth'),
  ]
}

/** Licences in the dataset's report.json, by source. */
export async function licensesOf(datasetDirectory: string): Promise<string[] | undefined> {
  try {
    const report = JSON.parse(await readFile(join(datasetDirectory, 'report.json'), 'utf8')) as {
      readonly sources?: readonly { readonly license?: string }[]
    }
    return report.sources?.map(({ license = '' }) => license)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
