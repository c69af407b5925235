/**
 * What a reconcile leaves behind. settled: nothing to do until a watch says otherwise. waiting: come back in this many
 * seconds at the latest. A throw means "unknown": logged, counted, and tried again with the key's exponential backoff.
 */
export type Outcome = { readonly kind: 'settled' } | { readonly kind: 'waiting'; readonly seconds: number }

export const settled: Outcome = { kind: 'settled' }
export const waiting = (seconds: number): Outcome => ({ kind: 'waiting', seconds })
