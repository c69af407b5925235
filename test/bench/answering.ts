/** Our side of a benchmark: answers the lines of contender.ts. */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** Peak resident memory of this process in bytes, as the kernel counted it. */
const peakBytes = (): number => 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])

/** Does `work` once for each `round` on the standard input, until that ends. It may answer with the seconds that count. */
export async function answerRounds(work: () => Promise<unknown>): Promise<void> {
  for await (const request of createInterface({ input: process.stdin })) {
    if (request === 'memory') {
      console.log(JSON.stringify({ peakBytes: peakBytes() }))
      continue
    }
    const start = performance.now()
    const answer = await work()
    const seconds = typeof answer === 'number' ? answer : (performance.now() - start) / 1000
    console.log(JSON.stringify({ seconds }))
  }
}
