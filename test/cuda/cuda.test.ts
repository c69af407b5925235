import { suite } from 'node:test'
import { fileURLToPath } from 'node:url'
import { testsOf } from '../parity/program.ts'

const program = (name: string): string => fileURLToPath(new URL(`../../build/native/${name}`, import.meta.url))

// contract.cc: the device on which the other programs of this folder run CUDA's kernels.
suite('the emulated device', () =>
  testsOf(program('cuda_contract'), {
    cover: ['mma, ldmatrix and cp.async', 'a missing barrier', 'an int that overflows', 'the host reads device memory'],
  }))
