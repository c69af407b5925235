/** C's strftime for a pinned day, in English and UTC: the part of it that chat templates use. */
import { JobFailure } from '../job/failure.ts'

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')
const two = (value: number): string => String(value).padStart(2, '0')

const DIRECTIVES: Readonly<Record<string, (date: Date) => string>> = {
  '%': () => '%',
  a: (date) => DAYS[date.getUTCDay()]!.slice(0, 3),
  A: (date) => DAYS[date.getUTCDay()]!,
  b: (date) => MONTHS[date.getUTCMonth()]!.slice(0, 3),
  B: (date) => MONTHS[date.getUTCMonth()]!,
  d: (date) => two(date.getUTCDate()),
  H: () => '00',
  M: () => '00',
  m: (date) => two(date.getUTCMonth() + 1),
  S: () => '00',
  y: (date) => two(date.getUTCFullYear() % 100),
  Y: (date) => String(date.getUTCFullYear()),
}

/** Formats a day such as "2026-11-24" or "26 Jul 2024". A directive that is not known stays as it is, as in C. */
export function formatDate(format: string, day: string): string {
  const date = new Date(`${day} UTC`)
  if (Number.isNaN(date.getTime()))
    throw new JobFailure(
      'ConfigurationInvalid',
      `dateString is "${day}"; expected a day such as "2026-11-24" or "26 Jul 2024"`,
    )
  return format.replace(/%(.)/g, (whole, directive: string) => DIRECTIVES[directive]?.(date) ?? whole)
}
