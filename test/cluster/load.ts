/** Clients in a closed loop against a release's endpoint: what was answered, by which adapter, and what was lost. */

/** One finished request. Times are milliseconds since the epoch. */
export interface Answer {
  readonly began: number
  readonly ended: number
  readonly status: number
  /** "sha256:…", or "base" for the untouched base, of the adapter that made the whole answer. */
  readonly digest: string
  readonly text: string
}

export interface Load {
  /** Grows while the load runs. */
  readonly answers: readonly Answer[]
  /** Requests that got no complete 200 answer, with why. */
  readonly lost: readonly string[]
  /** Resolves once an adapter of this digest made a whole answer that began after the call. */
  answeredBy(digest: string, seconds: number): Promise<void>
  stop(): Promise<void>
}

/** The header in which the endpoint names the adapter behind an answer; empty means the untouched base. */
export const digestOf = (response: Response): string => response.headers.get('x-humanizer-adapter-digest') || 'base'

/** Starts `clients` loops that each send the next request as soon as the last was answered. */
export function startLoad(
  baseUrl: string,
  clients: number,
  request: { readonly model: string; readonly maxTokens: number },
): Load {
  const answers: Answer[] = []
  const lost: string[] = []
  let running = true
  async function client(number: number): Promise<void> {
    for (let count = 0; running; count += 1) {
      const began = Date.now()
      try {
        const response = await fetch(`${baseUrl}/v1/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({
            model: request.model,
            prompt: `Client ${number} asks for the ${count}th time: once upon a time`,
            max_tokens: request.maxTokens,
            temperature: 0,
          }),
        })
        const body = (await response.json()) as { choices?: { text: string }[]; error?: { message: string } }
        const text = body.choices?.[0]?.text
        if (response.status !== 200 || text === undefined)
          lost.push(`${response.status}: ${body.error?.message ?? 'no choices'}`)
        else answers.push({ began, ended: Date.now(), status: response.status, digest: digestOf(response), text })
      } catch (error) {
        lost.push(String(error))
      }
    }
  }
  const loops = Array.from({ length: clients }, (_, number) => client(number))
  return {
    answers,
    lost,
    async answeredBy(digest, seconds) {
      const since = Date.now()
      while (!answers.some((answer) => answer.began >= since && answer.digest === digest)) {
        if (Date.now() - since > seconds * 1000)
          throw new Error(`no answer by ${digest} in ${seconds} s; the last was by ${answers.at(-1)?.digest}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    async stop() {
      running = false
      await Promise.all(loops)
    },
  }
}

/** Milliseconds from `since` to the beginning of the last request after it that an adapter other than `digest` answered; 0 when none did. */
export function lastOtherAnswer(answers: readonly Answer[], since: number, digest: string): number {
  const others = answers.filter((answer) => answer.began >= since && answer.digest !== digest)
  return others.length === 0 ? 0 : Math.max(...others.map((answer) => answer.began)) - since
}
