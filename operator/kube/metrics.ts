import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** Everything the operator counts about itself. Names are API: dashboards and alerts read them. */
export interface Metrics {
  readonly registry: Registry
  /** humanizer_reconcile_total{controller,result}: result is settled, waiting, conflict, error or timeout. */
  readonly reconciles: Counter<'controller' | 'result'>
  /** humanizer_reconcile_duration_seconds{controller}. */
  readonly reconcileSeconds: Histogram<'controller'>
  /** humanizer_queue_depth{controller}: keys ready for a worker. */
  readonly queueDepth: Gauge<'controller'>
  /** humanizer_watch_age_seconds{controller,kind}: since the API server last said anything, a bookmark included. */
  readonly watchAge: Gauge<'controller' | 'kind'>
  /** humanizer_watch_relists_total{kind}: full lists, the first included. */
  readonly relists: Counter<'kind'>
  /** humanizer_watch_errors_total{kind}. */
  readonly watchErrors: Counter<'kind'>
  /** humanizer_leader: 1 while this replica may act. */
  readonly leader: Gauge
  /** humanizer_api_calls_total{verb,code}: requests to the API server; code 0 is no answer. */
  readonly apiCalls: Counter<'verb' | 'code'>
  /** humanizer_objects{kind,state}: our objects by ready, reconciling, stalled, unknown. */
  readonly objects: Gauge<'kind' | 'state'>
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  return {
    registry,
    reconciles: new Counter({
      name: 'humanizer_reconcile_total',
      help: 'Reconciles by controller and result (settled, waiting, conflict, error, timeout).',
      labelNames: ['controller', 'result'],
      registers,
    }),
    reconcileSeconds: new Histogram({
      name: 'humanizer_reconcile_duration_seconds',
      help: 'Time one reconcile took, in seconds.',
      labelNames: ['controller'],
      buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30],
      registers,
    }),
    queueDepth: new Gauge({
      name: 'humanizer_queue_depth',
      help: 'Keys that wait for a worker.',
      labelNames: ['controller'],
      registers,
    }),
    watchAge: new Gauge({
      name: 'humanizer_watch_age_seconds',
      help: 'Seconds since the API server last said anything on this watch, bookmarks included.',
      labelNames: ['controller', 'kind'],
      registers,
    }),
    relists: new Counter({
      name: 'humanizer_watch_relists_total',
      help: 'Full lists of a kind, the first included.',
      labelNames: ['kind'],
      registers,
    }),
    watchErrors: new Counter({
      name: 'humanizer_watch_errors_total',
      help: 'Watches that ended with an error.',
      labelNames: ['kind'],
      registers,
    }),
    leader: new Gauge({ name: 'humanizer_leader', help: '1 while this replica may act.', registers }),
    apiCalls: new Counter({
      name: 'humanizer_api_calls_total',
      help: 'Requests to the API server by verb and HTTP code; 0 is no answer.',
      labelNames: ['verb', 'code'],
      registers,
    }),
    objects: new Gauge({
      name: 'humanizer_objects',
      help: 'Objects of our kinds by state (ready, reconciling, stalled, unknown).',
      labelNames: ['kind', 'state'],
      registers,
    }),
  }
}
