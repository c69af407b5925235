/** What the demo tells while it works: one line per fact, with the seconds since its start. */
export const elapsedSeconds = (): number => (Date.now() - performance.timeOrigin) / 1000
const clock = (): string => `${elapsedSeconds().toFixed(0).padStart(5)} s`
let progressShown = false

export function say(line: string): void {
  if (progressShown) process.stdout.write('\n')
  progressShown = false
  console.log(`${clock()}  ${line}`)
}

export const section = (title: string): void => say(`\n\n── ${title} ${'─'.repeat(Math.max(0, 90 - title.length))}`)

/** A line that is overwritten by the next one on a terminal, and printed where there is none. */
export function progress(line: string): void {
  if (!process.stdout.isTTY) {
    say(line)
    return
  }
  process.stdout.write(`\r\x1b[2K${clock()}  ${line}`)
  progressShown = true
}
