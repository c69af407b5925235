import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

// OpenMP's threads wait for each other by spinning, for milliseconds by default. On cores that others use too that starves the very thread
// they wait for: small operations were thirteen times slower. This is about 30 microseconds; libgomp reads it when it is loaded.
const SPIN_COUNT = '2000'

let addon: unknown

/** The native addon, loaded at its first use: from HUMANIZER_NATIVE where that is set, else from build/native. */
export function loadAddon(): unknown {
  const path =
    process.env.HUMANIZER_NATIVE ?? fileURLToPath(new URL('../../build/native/trainer_native.node', import.meta.url))
  process.env.GOMP_SPINCOUNT ??= SPIN_COUNT
  if (!addon) {
    const loaded = createRequire(import.meta.url)(path) as { closeAll(): void }
    // process.exit destroys what the engine's threads still use; this stops them first, within a layer's time.
    process.once('exit', () => loaded.closeAll())
    addon = loaded
  }
  return addon
}
