import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import { nameDigest } from './switch.ts'

/** What a serving pod tells Prometheus. Durations are in seconds. */
export interface Metrics {
  readonly registry: Registry
  /** Requests answered, by route and HTTP status; 499 is a client that left. */
  readonly requests: Counter<'route' | 'code'>
  /** Tokens of finished requests: kind "prompt" or "completion". */
  readonly tokens: Counter<'kind'>
  /** From the request's arrival to its first sampled token. */
  readonly firstToken: Histogram
  /** From the request's arrival to the end of its answer. */
  readonly duration: Histogram<'route'>
  /** Promotion, verification, loading and proof together; outcome "ok" or "failed". */
  readonly switches: Histogram<'outcome'>
}

/** What is read when Prometheus asks. */
export interface Readings {
  /** Answers being written and answers waiting. */
  load(): { readonly running: number; readonly waiting: number }
  state(): ServingState
}

export function createMetrics(readings: Readings): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'humanizer_serve_choices',
    help: 'Answers being written and answers waiting for a place in the batch.',
    labelNames: ['state'],
    registers,
    collect() {
      const { running, waiting } = readings.load()
      this.set({ state: 'running' }, running)
      this.set({ state: 'waiting' }, waiting)
    },
  })
  new Gauge({
    name: 'humanizer_serve_loaded_info',
    help: '1 for the digest that serves; "base" is the untouched base, absent while nothing serves.',
    labelNames: ['digest'],
    registers,
    collect() {
      const { digest, loadedTime } = readings.state()
      this.reset()
      if (loadedTime !== '') this.set({ digest: nameDigest(digest) }, 1)
    },
  })
  new Gauge({
    name: 'humanizer_serve_loaded_generation',
    help: 'Generation of the desired state that serves; 0 while nothing does.',
    registers,
    collect() {
      this.set(readings.state().generation)
    },
  })
  return {
    registry,
    requests: new Counter({
      name: 'humanizer_serve_requests_total',
      help: 'Requests answered, by route and HTTP status; 499 is a client that left.',
      labelNames: ['route', 'code'],
      registers,
    }),
    tokens: new Counter({
      name: 'humanizer_serve_tokens_total',
      help: 'Tokens of finished requests.',
      labelNames: ['kind'],
      registers,
    }),
    firstToken: new Histogram({
      name: 'humanizer_serve_time_to_first_token_seconds',
      help: 'Seconds from the arrival of a request to its first sampled token.',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    duration: new Histogram({
      name: 'humanizer_serve_request_duration_seconds',
      help: 'Seconds from the arrival of a request to the end of its answer.',
      labelNames: ['route'],
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
      registers,
    }),
    switches: new Histogram({
      name: 'humanizer_serve_switch_seconds',
      help: 'Seconds from the decision to switch to the proved adapter, or to its failure.',
      labelNames: ['outcome'],
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
  }
}
