/** What every decimal of the status has room for. */
const FIGURE_CHARACTERS = 16

/** A decimal as status holds it; with an exponent where it would be too long, as is the perplexity of a run that diverged. A number that is not finite is absent. */
export function figure(value: number | undefined, digits: number): string | undefined {
  if (value === undefined || !Number.isFinite(value)) return undefined
  const text = value.toFixed(digits)
  return text.length <= FIGURE_CHARACTERS ? text : value.toExponential(6)
}

/** Paths of all numbers in `value` that are not finite, such as "progress.trainLoss"; an entry of a list goes by its name. */
export function notFinite(value: unknown, path = ''): string[] {
  if (typeof value === 'number') return Number.isFinite(value) ? [] : [path]
  if (typeof value !== 'object' || value === null) return []
  const inside = path && `${path}.`
  return Object.entries(value).flatMap(([key, field]) =>
    notFinite(field, Array.isArray(value) ? `${path}[${(field as { name?: string })?.name ?? key}]` : inside + key),
  )
}

/** Whole percent, such as "42%"; 100% only when it is done. */
export const percent = (done: number, total: number): string =>
  total > 0 ? `${Math.floor((done * 100) / total)}%` : '0%'

/** Such as "1h32m", "4m10s" or "9s". */
export function duration(seconds: number | undefined): string | undefined {
  if (seconds === undefined || !Number.isFinite(seconds) || seconds < 0) return undefined
  const whole = Math.round(seconds)
  const hours = Math.floor(whole / 3600)
  const minutes = Math.floor((whole % 3600) / 60)
  if (hours > 0) return `${hours}h${minutes}m`
  return minutes > 0 ? `${minutes}m${whole % 60}s` : `${whole}s`
}
