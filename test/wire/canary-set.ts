/** Canary sets as a trainer seals them, for adapters that a test makes. */
import { type Canary, canaryOf, lossesOf } from '../../trainer-image/evaluate/canary.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import type { AdapterConfig } from '../../trainer-image/model/peft.ts'
import { type AdapterTensor, engineInfo, type InstructionPath, loadModel } from '../../trainer-image/native/index.ts'
import { quantization } from './serving-pod.ts'

const texts = [
  { id: 'one', text: 'the river', tokens: [5, 9, 33, 40, 41, 42, 43, 44, 45, 46], promptTokens: 3 },
  { id: 'two', text: 'a house', tokens: [5, 9, 60, 61, 62, 63, 64, 65, 66, 67, 68], promptTokens: 2 },
]

/** What a trainer on the base in `folder` would have sealed; `change` tells something else instead. */
export const measuredOn =
  (
    folder: string,
    instructionPath?: InstructionPath,
    change: (canary: Canary) => object = (canary) => canary,
    type: 'NF4' | 'None' = 'NF4',
  ) =>
  async (config: AdapterConfig, tensors: readonly AdapterTensor[]): Promise<object> => {
    const opened = await openModel(folder)
    const path = instructionPath ?? engineInfo().instructionPath
    const model = await loadModel(opened.architecture, opened.tensors, {
      quantization: { ...quantization, type },
      threads: 1,
      instructionPath: path,
    })
    const adapter = await model.loadAdapter({ ...config, seed: 0 }, tensors)
    const losses = [await lossesOf(model, adapter, texts), await lossesOf(model, undefined, texts)] as const
    model.close()
    return change(canaryOf({ backend: 'CPU', instructionPath: path }, texts, ...losses)!)
  }
