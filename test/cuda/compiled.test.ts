/** The engine's kernels as NVIDIA's compiler makes them, without a GPU: minutes where they are not in the cache. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { instructionsOf, plainSymbol, resourcesOf } from './assembly.ts'
import { compiled } from './compile.ts'
import { occupancy } from './occupancy.ts'
import { promises } from './promises.ts'
import { committedPage, committedTable, pageOf, readable, stale, tableOf } from './report.ts'
import { capabilities, sources } from './sources.ts'

suite('compiled kernels', async () => {
  const files = await compiled()

  test('every .cu file compiles for every architecture without a warning', () => {
    assert.deepEqual(
      files.map(({ name }) => name),
      sources().map(({ name }) => name),
    )
    for (const { name, kernels } of files)
      for (const { symbol, on } of kernels)
        assert.deepEqual(Object.keys(on).map(Number), [...capabilities], `${name} ${symbol}`)
  })

  test('the committed report is what the compiler says now', () => {
    assert.equal(committedTable(), tableOf(files))
    assert.equal(committedPage(), pageOf(files))
  })

  // The kernels in f32 are there to be compared with the CPU's, not to train with.
  test('no kernel but those in f32 keeps anything in local memory, by a spill or otherwise', () => {
    const local = files.flatMap(({ name, kernels }) =>
      readable(kernels).flatMap((kernel, i) =>
        capabilities
          .filter((capability) => kernels[i]!.on[capability].stack > 0 && !/^\w+<float|_f32_kernel/.test(kernel))
          .map((capability) => `${name} ${kernel} on ${capability}: ${kernels[i]!.on[capability].stack} bytes`),
      ),
    )
    assert.deepEqual(local, [])
  })

  for (const { file, kernel, has } of promises) {
    test(`${file}: ${kernel} has its ${has.join(', ')}`, () => {
      const { kernels } = files.find(({ name }) => name === file)!
      const names = readable(kernels)
      const meant = kernels.filter((_, i) => kernel.test(names[i]!))
      assert.notEqual(meant.length, 0, `none of ${names.join(', ')}`)
      for (const { symbol, on } of meant)
        for (const capability of capabilities)
          for (const kind of has) assert.ok(on[capability][kind] > 0, `${symbol} has no ${kind} on ${capability}`)
    })
  }
})

// Lines of CUDA 13.0's ptxas and cuobjdump.
const ptxas = `ptxas info    : Compiling entry function '_ZN1a29_GLOBAL__N__a1891cfe_4_x_cu_1k1fIfEEvv' for 'sm_90'
ptxas info    : Function properties for _ZN1a29_GLOBAL__N__a1891cfe_4_x_cu_1k1fIfEEvv
    16 bytes stack frame, 8 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 31 registers, used 1 barriers, 512 bytes smem, 464 bytes cmem[0]`
const sass = `arch = sm_90
		Function : kernel
        /*0010*/                   LDG.E.CONSTANT.128 R4, desc[UR4][R2.64] ;    /* 0x0 */
        /*0020*/               @P0 LDG.E.64 R4, desc[UR4][R2.64] ;              /* 0x0 */
        /*0030*/              @!P0 STG.E.128 desc[UR4][R2.64], R4 ;             /* 0x0 */
        /*0040*/                   LDGSTS.E.BYPASS.128 [R1], desc[UR4][R2.64] ; /* 0x0 */
        /*0050*/                   LDSM.16.M88.4 R4, [R2] ;                     /* 0x0 */
        /*0060*/                   HMMA.16816.F32.BF16 R4, R4, R2, RZ ;         /* 0x0 */`

test('the resources of a kernel are read from what ptxas prints', () => {
  const kernel = resourcesOf(ptxas).values().next().value?.get(90)
  assert.deepEqual(kernel, { registers: 31, stack: 16, spillStores: 8, spillLoads: 24, shared: 512 })
})

test('the instructions of a kernel are counted in its disassembly', () => {
  const expected = { wideLoads: 1, wideStores: 1, asyncCopies: 1, matrixLoads: 1, tensorProducts: 1 }
  assert.deepEqual(instructionsOf(sass).get('kernel')?.get(90), expected)
})

test("an anonymous namespace has the name that g++ gives it, not the compilation's", () => {
  assert.equal(plainSymbol('_ZN1a29_GLOBAL__N__a1891cfe_4_x_cu_1k1fIfEEvv'), '_ZN1a12_GLOBAL__N_1k1fIfEEvv')
})

// Rows of NVIDIA's occupancy calculator.
for (const [capability, threads, registers, sharedBytes, expected] of [
  [80, 256, 32, 0, 1],
  [80, 256, 64, 0, 0.5],
  [80, 128, 255, 0, 0.125],
  [86, 256, 40, 0, 1],
  [90, 128, 32, 100 * 1024, 0.125],
  [120, 1024, 32, 0, 2 / 3],
] as const)
  test(`${threads} threads of ${registers} registers and ${sharedBytes} bytes fill ${expected} of ${capability}`, () =>
    assert.equal(occupancy(capability, { threads, registers, sharedBytes }), expected))

test('a source that changed, came or went makes the report stale', () => {
  const source = { name: 'a.cu', path: '', hash: '1' }
  assert.deepEqual(stale('# a.cu 1\n', [source]), [])
  assert.deepEqual(stale('# a.cu 0\n', [source]), ['a.cu'])
  assert.deepEqual(stale('', [source]), ['a.cu'])
  assert.deepEqual(stale('# a.cu 1\n# b.cu 1\n', [source]), ['b.cu'])
})
