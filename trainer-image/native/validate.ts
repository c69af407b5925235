import type { Architecture, Nf4Parts, TensorSource } from './base-model.ts'
import type { AdapterTensor, Batch, LoraConfig, MomentTensor, TokenChoice } from './contract.ts'
import { NativeError } from './native-error.ts'

/** INVALID_ARGUMENT naming the field, its value and what is expected. */
export function invalid(field: string, value: unknown, expected: string): NativeError {
  return new NativeError('INVALID_ARGUMENT', `${field} is ${String(value)}, expected ${expected}`)
}

export function checkInteger(field: string, value: number, minimum: number, maximum = 2 ** 31 - 1): void {
  if (!Number.isInteger(value) || value < minimum || value > maximum)
    throw invalid(field, value, `an integer in [${minimum}, ${maximum}]`)
}

export function checkNumber(field: string, value: number, minimum: number, maximum = Number.MAX_VALUE): void {
  if (!(value >= minimum && value <= maximum)) throw invalid(field, value, `a number in [${minimum}, ${maximum}]`)
}

export function checkBlockSize(field: string, value: number): void {
  checkInteger(field, value, 2, 4096)
  if (value % 2 !== 0) throw invalid(field, value, 'an even number')
}

export function checkArchitecture(a: Architecture): void {
  if (a.family !== 'llama') throw invalid('architecture.family', a.family, "'llama'")
  const counts = [
    'hiddenSize',
    'intermediateSize',
    'layers',
    'heads',
    'keyValueHeads',
    'headSize',
    'vocabularySize',
    'maxPositions',
  ] as const
  for (const field of counts) checkInteger(`architecture.${field}`, a[field], 1)
  if (a.headSize % 2 !== 0) throw invalid('architecture.headSize', a.headSize, 'an even number')
  if (a.heads % a.keyValueHeads !== 0)
    throw invalid('architecture.keyValueHeads', a.keyValueHeads, `a divisor of heads (${a.heads})`)
  for (const field of ['tiedEmbeddings', 'qkvBias', 'outputBias', 'fusedProjections'] as const)
    if (typeof a[field] !== 'boolean') throw invalid(`architecture.${field}`, a[field], 'true or false')
  checkNumber('architecture.rmsNormEpsilon', a.rmsNormEpsilon, 0, 1)
  checkNumber('architecture.ropeTheta', a.ropeTheta, 1)
}

export function checkTensor(t: TensorSource): void {
  checkInteger(`tensor ${t.name}: offset`, t.offset, 0, Number.MAX_SAFE_INTEGER)
  checkInteger(`tensor ${t.name}: bytes`, t.bytes, 1, Number.MAX_SAFE_INTEGER)
  for (const size of t.shape) checkInteger(`tensor ${t.name}: shape`, size, 1)
  if ((t.dtype === 'NF4') !== (t.nf4 !== undefined))
    throw invalid(`tensor ${t.name}: nf4`, t.nf4 && 'given', `one with dtype NF4 and no other (${t.dtype})`)
  if (t.nf4) checkNf4(t.name, t.nf4)
  if (t.unpermuteHeads !== undefined) checkInteger(`tensor ${t.name}: unpermuteHeads`, t.unpermuteHeads, 1)
}

function checkNf4(name: string, { blockSize, map, absmax, nested }: Nf4Parts): void {
  checkBlockSize(`tensor ${name}: nf4.blockSize`, blockSize)
  for (const { offset, bytes } of [map, absmax, ...(nested ? [nested.map, nested.absmax] : [])]) {
    checkInteger(`tensor ${name}: nf4 offset`, offset, 0, Number.MAX_SAFE_INTEGER)
    checkInteger(`tensor ${name}: nf4 bytes`, bytes, 1, Number.MAX_SAFE_INTEGER)
  }
  if (nested && !Number.isFinite(nested.offset))
    throw invalid(`tensor ${name}: nf4.nested.offset`, nested.offset, 'a finite number')
}

/** Tensors of an adapter by themselves; whether they are those of its targets is for the engine to say. */
export function checkAdapterTensors(tensors: readonly AdapterTensor[]): void {
  const names = new Set<string>()
  for (const { name, shape, data } of tensors) {
    const field = `tensor ${name}`
    if (names.has(name)) throw new NativeError('DATA_INVALID', `adapter ${field} stands twice`)
    names.add(name)
    checkFloat32s(`${field}: data`, data)
    if (shape.length !== 2) throw invalid(`${field}: shape`, `[${shape.join(', ')}]`, 'two sizes')
    for (const size of shape) checkInteger(`${field}: shape`, size, 1)
    if (data.length !== shape[0] * shape[1])
      throw invalid(`${field}: data.length`, data.length, `${shape[0]} · ${shape[1]}`)
  }
}

/** Moments by themselves, as checkAdapterTensors; codes need scales and values have none. */
export function checkMoments(tensors: readonly MomentTensor[]): void {
  const names = new Set(tensors.map(({ name }) => name))
  if (names.size !== tensors.length) throw new NativeError('DATA_INVALID', 'a moment of an adapter tensor stands twice')
  for (const { name, data, absmax } of tensors)
    if (absmax !== undefined) {
      checkFloat32s(`tensor ${name}: absmax`, absmax)
      if (!(data instanceof Uint8Array)) throw invalid(`tensor ${name}: data`, kindOf(data), 'a Uint8Array of codes')
    } else checkFloat32s(`tensor ${name}: data`, data as Float32Array)
}

const kindOf = (value: unknown): string =>
  value === null || value === undefined ? String(value) : value.constructor.name

export function checkLora(c: LoraConfig): void {
  checkInteger('lora.rank', c.rank, 1, 4096)
  checkNumber('lora.alpha', c.alpha, 0)
  if (!(c.dropout >= 0 && c.dropout < 1)) throw invalid('lora.dropout', c.dropout, 'a number in [0, 1)')
  if (c.optimizer !== undefined && c.optimizer !== 'AdamW' && c.optimizer !== 'AdamW8bit')
    throw invalid('lora.optimizer', c.optimizer, 'AdamW or AdamW8bit')
  checkInteger('lora.seed', c.seed, 0, Number.MAX_SAFE_INTEGER)
  if (c.targetModules.length === 0) throw invalid('lora.targetModules', '[]', 'at least one module name')
}

export function checkFloat32s(field: string, array: Float32Array): void {
  if (!(array instanceof Float32Array)) throw invalid(field, kindOf(array), 'a Float32Array')
}

function checkInt32s(field: string, array: Int32Array): void {
  if (!(array instanceof Int32Array)) throw invalid(field, kindOf(array), 'an Int32Array')
}

function checkOffsets(field: string, offsets: Int32Array, last: number): void {
  if (offsets.length < 2 || offsets[0] !== 0 || offsets.at(-1) !== last)
    throw invalid(`batch.${field}`, `[${offsets.subarray(0, 3)}, …, ${offsets.at(-1)}]`, `offsets from 0 to ${last}`)
  for (let i = 1; i < offsets.length; i++)
    if (offsets[i]! <= offsets[i - 1]!) throw invalid(`batch.${field}[${i}]`, offsets[i], `more than ${offsets[i - 1]}`)
}

export function checkChoice(choice: TokenChoice, vocabularySize: number): void {
  checkNumber('choice.temperature', choice.temperature, 0)
  checkNumber('choice.topP', choice.topP, 0, 1)
  if (!(choice.random >= 0 && choice.random < 1)) throw invalid('choice.random', choice.random, 'a number in [0, 1)')
  checkInteger('choice.alternatives', choice.alternatives, -1, 20)
  if (!(choice.tokens instanceof Int32Array)) throw invalid('choice.tokens', typeof choice.tokens, 'an Int32Array')
  for (const token of choice.tokens) checkInteger('choice.tokens', token, 0, vocabularySize - 1)
  if (new Set(choice.tokens).size !== choice.tokens.length) throw invalid('choice.tokens', 'one twice', 'each once')
  checkFloat32s('choice.penalties', choice.penalties)
  if (choice.penalties.length !== choice.tokens.length)
    throw invalid('choice.penalties.length', choice.penalties.length, `choice.tokens.length (${choice.tokens.length})`)
}

export function checkTokens(field: string, tokens: Int32Array, vocabularySize: number): void {
  checkInt32s(field, tokens)
  if (tokens.length === 0) throw invalid(`${field}.length`, 0, 'at least one token')
  for (let i = 0; i < tokens.length; i++)
    if (tokens[i]! < 0 || tokens[i]! >= vocabularySize)
      throw invalid(`${field}[${i}]`, tokens[i], `a token id below ${vocabularySize}`)
}

/** The engine indexes memory by these numbers: everything that could leave its arrays is refused here. */
export function checkBatch(batch: Batch, a: Architecture): void {
  checkTokens('batch.tokens', batch.tokens, a.vocabularySize)
  for (const field of ['labels', 'documents', 'sequences', 'sequenceOrdinals'] as const)
    checkInt32s(`batch.${field}`, batch[field])
  const length = batch.tokens.length
  if (batch.labels.length !== length)
    throw invalid('batch.labels.length', batch.labels.length, `${length}, one for each token`)
  for (let i = 0; i < length; i++) {
    const label = batch.labels[i]!
    if (label !== -100 && (label < 0 || label >= a.vocabularySize))
      throw invalid(`batch.labels[${i}]`, label, `-100 or a token id below ${a.vocabularySize}`)
  }
  checkOffsets('documents', batch.documents, length)
  checkOffsets('sequences', batch.sequences, length)
  const starts = new Set(batch.documents)
  for (const offset of batch.sequences)
    if (!starts.has(offset)) throw invalid('batch.sequences', offset, 'the offset of a document')
  for (let d = 1; d < batch.documents.length; d++) {
    const rows = batch.documents[d]! - batch.documents[d - 1]!
    if (rows > a.maxPositions)
      throw invalid(`length of document ${d - 1}`, rows, `at most maxPositions ${a.maxPositions}`)
  }
  if (batch.sequenceOrdinals.length !== batch.sequences.length - 1)
    throw invalid('batch.sequenceOrdinals.length', batch.sequenceOrdinals.length, `${batch.sequences.length - 1}`)
}
