import { hash } from 'node:crypto'

/** Uniform numbers in [0, 1), the same for the same seed and name on every machine (sfc32 keyed by SHA-256). */
export function randomOf(seed: number, name: string): () => number {
  const key = hash('sha256', `${seed}\0${name}`, 'buffer')
  let a = key.readInt32LE(0)
  let b = key.readInt32LE(4)
  let c = key.readInt32LE(8)
  let counter = key.readInt32LE(12)
  return () => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + t) | 0
    return (t >>> 0) / 2 ** 32
  }
}
