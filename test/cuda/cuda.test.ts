import { suite } from 'node:test'
import { fileURLToPath } from 'node:url'
import { testsOf } from '../parity/program.ts'

const program = (name: string): string => fileURLToPath(new URL(`../../build/native/${name}`, import.meta.url))

// contract.cc: the device on which the other programs of this folder run CUDA's kernels.
suite('the emulated device', () =>
  testsOf(program('cuda_contract'), {
    cover: [
      'mma, ldmatrix and cp.async',
      'a missing barrier',
      'an int that overflows',
      'a tile read before it is filled',
      'an input read before it has come back',
      'the host reads device memory',
    ],
  }))

// ops.cc: every kernel against the .cc of the same op, under eight orders of threads.
suite('the kernels', () =>
  testsOf(program('cuda_ops'), {
    cover: [
      'nf4 dequantise twice has the bits bf16',
      'attention backward bf16',
      'lora dA bf16',
      'adamw8bit has the bits',
      'product bf16',
      'flags of parts',
      'variance of the log-likelihood',
      'tokens have the bits: a nucleus',
      'at its true shape: attention of 3B',
    ],
  }))

// step.cu: the engine on its device memory against the CPU backend.
suite('training, evaluation and generation on the device', () =>
  testsOf(program('cuda_step'), {
    cover: [
      '20 steps of Phi-3 in f32',
      'generation of Mistral token for token',
      'curvature of Llama in bf16',
      'tokens of Phi-3 drawn in f32',
      '3 steps of Qwen2 in bf16',
      'everything recomputed gives the same bits',
      'a saved adapter loads on the CPU',
      'steps that run again as graphs have the bits',
      'a step that cannot be kept runs as it comes',
      '36 MiB go to the device and back',
      'a tile that is filled again while it is read is exposed',
      'a step whose input exceeds the pinned memory',
      'no step is kept of a model that may keep none',
      "layers' inputs that wait on the host give the same bits",
      'a layer that does not wait for its input',
      'a step that allocates is refused',
      'a step that waits is noticed',
      'a driver that is too old',
    ],
  }))
