import type { Metric } from '#proto/humanizer/trainer/v1/run.ts'
import type { Estimate } from './bootstrap.ts'

/** What a bigger value of a metric means; None: for information, or good only near the human reference. */
export type Better = 'Lower' | 'Higher' | 'None'

export interface MetricKind {
  readonly unit: string
  readonly better: Better
  /** In words, for reports. */
  readonly about: string
}

/**
 * Every figure of an evaluation beside its loss, by the name it has in manifests, status and gates. operator/api/metrics.ts
 * says the same to the operator. "Output" is what the model writes for an input; "human" the text that people wrote.
 */
export const metricKinds = {
  perplexity: { unit: 'per label token', better: 'Lower', about: 'e to the held-out loss' },
  improvement: {
    unit: 'nats per label token',
    better: 'Higher',
    about: "held-out loss of the untouched base minus this adapter's, on the same texts",
  },
  humanImprovement: {
    unit: 'nats per label token',
    better: 'Higher',
    about: 'the same on held-out human text under the denoise prompt',
  },
  repetition4: { unit: 'share of 4-grams', better: 'Lower', about: '4-grams that the output had before (seq-rep-4)' },
  distinct2: { unit: 'share of 2-grams', better: 'Higher', about: 'different 2-grams of an output (distinct-2)' },
  repeatedStarts: {
    unit: 'share of sentences',
    better: 'Lower',
    about: 'sentences that begin as an earlier one of the output does',
  },
  wordOverlap: { unit: 'share of words', better: 'Higher', about: 'words of the input that the output keeps' },
  rougeL: { unit: 'F1', better: 'Higher', about: 'longest common subsequence of words of input and output (ROUGE-L)' },
  numbersKept: { unit: 'share of numbers', better: 'Higher', about: 'numbers of the input that the output keeps' },
  namesKept: { unit: 'share of names', better: 'Higher', about: 'names of the input that the output keeps' },
  lengthRatio: { unit: 'output / input words', better: 'None', about: 'how long the output is, mean' },
  lengthRatioP95: { unit: 'output / input words', better: 'Lower', about: 'how long the longest outputs are' },
  longestSharedRun: {
    unit: 'tokens',
    better: 'Lower',
    about: 'longest run of tokens shared with a training text, mean',
  },
  memorised: {
    unit: 'share of outputs',
    better: 'Lower',
    about: 'outputs that share 50 tokens in a row or more with a training text',
  },
  extracted: {
    unit: 'share of training texts',
    better: 'Lower',
    about: 'training texts that go on word for word when their beginning is given',
  },
  copyRate: { unit: 'share of outputs', better: 'Lower', about: 'outputs nearly equal to their input' },
  styleDistance: {
    unit: 'standard deviations of human text',
    better: 'Lower',
    about: 'how far the outputs are from human text in sentence lengths, contractions, punctuation and reading grade',
  },
  curvature: {
    unit: 'standard deviations',
    better: 'None',
    about:
      'for information: how much likelier the untouched base finds the text than what it would write itself; machine-written text lies higher (Fast-DetectGPT)',
  },
} as const satisfies Record<string, MetricKind>

export type MetricName = keyof typeof metricKinds

/** Nothing when it could not be measured: an absent metric is missing evidence, never a zero. */
export function metricOf(name: MetricName, estimate: Estimate | undefined): Metric[] {
  if (estimate === undefined || !Number.isFinite(estimate.value)) return []
  const { low, high } = estimate.interval ?? {}
  return [{ name, value: estimate.value, low, high }]
}
