/** The same step by PEFT + bitsandbytes and by Unsloth, where the machine's Python has them. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Architecture } from '../../trainer-image/native/index.ts'
import { llamaConfig } from '../bench/llama-config.ts'
import { nameOf, type Setting } from './benchmark.ts'

export interface PeerStep {
  readonly peer: string
  readonly setting: Setting
  readonly tokensPerSecond: number
  /** As torch counts what it allocated; null where it does not. */
  readonly peakBytes: number | null
}

export interface Peers {
  readonly steps: readonly PeerStep[]
  /** Of a peer that is not installed or failed: which, and the last line that it said. */
  readonly absent: readonly string[]
}

const peers = [
  { name: 'PEFT + bitsandbytes', argument: 'peft', modules: ['torch', 'transformers', 'peft', 'bitsandbytes'] },
  { name: 'Unsloth', argument: 'unsloth', modules: ['unsloth'] },
] as const

export interface PeerPlan {
  readonly python: string
  readonly settings: readonly Setting[]
  readonly steps: number
  readonly device: 'cuda' | 'cpu'
}

/** Of each installed peer a step for each setting. Random weights are written to a folder of their own: 6 GB for the 3B model. */
export function peerSteps(a: Architecture, { python, settings, steps, device }: PeerPlan): Peers {
  const done: PeerStep[] = []
  const absent: string[] = []
  const folder = mkdtempSync(join(tmpdir(), 'humanizer-peers-'))
  try {
    for (const { name, argument, modules } of peers) {
      const imported = run(python, ['-c', `import ${modules.join(', ')}`])
      if (imported.problem) {
        absent.push(`${name}: ${imported.problem}`)
        continue
      }
      for (const setting of settings) {
        const { sequences, length, activationCheckpointing } = setting
        const checkpointing = activationCheckpointing === 'Full'
        const shape = { config: llamaConfig(a), sequences, length, dropout: 0.05, steps, checkpointing, folder, device }
        const script = join(import.meta.dirname, 'peer_step.py')
        const { problem, output } = run(python, [script, argument, JSON.stringify(shape)])
        if (problem) {
          absent.push(`${name}, ${nameOf(setting)}: ${problem}`)
          continue
        }
        const { stepSeconds, peakBytes } = JSON.parse(output.trimEnd().split('\n').at(-1)!) as {
          stepSeconds: number[]
          peakBytes: number | null
        }
        const median = stepSeconds.toSorted((x, y) => x - y)[stepSeconds.length >> 1]!
        done.push({ peer: name, setting, tokensPerSecond: (sequences * length) / median, peakBytes })
      }
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  return { steps: done, absent }
}

function run(python: string, args: readonly string[]): { problem: string | undefined; output: string } {
  const { error, status, stdout, stderr } = spawnSync(python, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    timeout: 20 * 60_000,
  })
  if (error) return { problem: error.message, output: '' }
  const last = stderr.trimEnd().split('\n').at(-1)
  return { problem: status === 0 ? undefined : last || `exit status ${status}`, output: stdout }
}
