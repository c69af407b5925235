/** Instructions that a kernel was written for: where the compiler leaves them out, it is several times slower and still right. */
import type { Instructions } from './assembly.ts'

export interface Promised {
  readonly file: string
  /** Of the kernel's name, as the report writes it. */
  readonly kernel: RegExp
  readonly has: readonly (keyof Instructions)[]
}

export const promises: readonly Promised[] = [
  { file: 'rmsnorm.cu', kernel: /<(float|bf16), true>/, has: ['wideLoads', 'wideStores'] },
  { file: 'swiglu.cu', kernel: /, true>/, has: ['wideLoads', 'wideStores'] },
  { file: 'nf4.cu', kernel: /dequantize.*, true>/, has: ['wideStores'] },
  { file: 'few_rows.cu', kernel: /Nf4Words/, has: ['wideLoads'] },
  { file: 'cross_entropy.cu', kernel: /, true>/, has: ['wideLoads'] },
]
