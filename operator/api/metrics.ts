/**
 * Names of the figures in status.checkpoints[].metrics and status.baseline.metrics of a QLoRARun, and which way is better;
 * None: neither is, or it is for information. Units and meaning: trainer-image/evaluate/metrics.ts.
 */
export const metricDirections = {
  perplexity: 'Lower',
  improvement: 'Higher',
  humanImprovement: 'Higher',
  repetition4: 'Lower',
  distinct2: 'Higher',
  repeatedStarts: 'Lower',
  wordOverlap: 'Higher',
  rougeL: 'Higher',
  numbersKept: 'Higher',
  namesKept: 'Higher',
  lengthRatio: 'None',
  lengthRatioP95: 'Lower',
  longestSharedRun: 'Lower',
  memorised: 'Lower',
  extracted: 'Lower',
  copyRate: 'Lower',
  styleDistance: 'Lower',
  curvature: 'None',
} as const satisfies Record<string, 'Lower' | 'Higher' | 'None'>
export type MetricName = keyof typeof metricDirections
