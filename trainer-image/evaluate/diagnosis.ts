import type { Diagnosis, Finding } from '#proto/humanizer/trainer/v1/run.ts'
import { adviceFor, moreTexts, type Settings } from './advice.ts'
import {
  ENOUGH_TEXTS,
  type Evidence,
  type Failure,
  FEWEST_TEXTS,
  type Found,
  findingsOf,
  gainInWords,
  improvementOf,
} from './findings.ts'
import { figureOf, shareInWords } from './judgement.ts'

export type Verdict = 'Healthy' | Failure | 'Unknown'

/**
 * What became of a run, with the evidence of every finding. Pure. The gravest failure that the evidence shows gives the verdict; where
 * none is shown but the evidence leaves one open, an interval that holds the limit or too few texts, it is Unknown. A gate on the
 * same figure is then inconclusive, too.
 */
export function diagnose(evidence: Evidence, settings: Settings): Diagnosis {
  const found = findingsOf(evidence)
  const shown = found.filter(({ judged }) => judged === 'shown')
  const open = [...missing(evidence), ...found.filter(({ judged }) => judged === 'open')]
  const findings = [
    ...shown.map(({ failure, says }): Finding => ({ verdict: failure, evidence: says })),
    ...open.map((each): Finding => ({ verdict: 'Unknown', evidence: openInWords(each) })),
  ]
  const failure = shown[0]?.failure
  const verdict: Verdict = failure ?? (open.length > 0 ? 'Unknown' : 'Healthy')
  if (verdict === 'Healthy') findings.push({ verdict, evidence: soundInWords(evidence) })
  if (verdict === 'Unknown' && !found.some(({ failure }) => failure === 'Underfitting'))
    findings.push(...gained(evidence))
  return {
    verdict,
    findings,
    advice: [...(failure ? adviceFor(failure, settings) : []), ...moreTexts(open, evidence.texts, settings)],
  }
}

type Open = Pick<Found, 'says' | 'wants'>

/** What no check could look at. */
function missing({ baseline, best, sameAsBase, texts }: Evidence): Open[] {
  if (baseline?.loss === undefined || best?.loss === undefined)
    return [{ says: 'the held-out loss of the base or of the best checkpoint was not measured' }]
  const wants = { of: 'written', texts: ENOUGH_TEXTS } as const
  if (sameAsBase === undefined)
    return [{ says: 'no outputs were measured, and the loss alone does not see copying or repetition', wants }]
  if (texts.written >= FEWEST_TEXTS) return []
  return [{ says: `${texts.written} texts are too few to tell what the outputs are like`, wants }]
}

const unit = { written: 'texts', begun: 'training texts', heldOut: 'held-out texts' } as const

function openInWords({ says, wants }: Open): string {
  if (wants === undefined) return says
  const { of, texts } = wants
  return texts === undefined
    ? `${says}: too near the limit for any number of ${unit[of]} to tell`
    : `${says}; ${texts} ${unit[of]} would tell`
}

function gained({ baseline, best }: Evidence): Finding[] {
  const gain = improvementOf(best)
  if (gain === undefined || baseline === undefined) return []
  return [{ verdict: 'Unknown', evidence: `the loss itself is sound: it fell by ${gainInWords(gain)}` }]
}

function soundInWords({ best, newest, texts }: Evidence): string {
  const gain = improvementOf(best)
  const memorised = figureOf(newest, 'memorised')
  const rare =
    memorised === undefined
      ? ''
      : `; of ${texts.written} outputs ${shareInWords(memorised)} hold a passage of a training text`
  return (
    `held-out loss fell by ${gain ? gainInWords(gain) : 'an unknown amount'}, and the outputs are neither copies, nor repetitive, ` +
    `nor those of the base${rare}`
  )
}
