/** Instructions that a kernel was written for: where the compiler leaves them out, it is several times slower and still right. */
import type { Instructions } from './assembly.ts'

export interface Promised {
  readonly file: string
  /** Of the kernel's name, as the report writes it. */
  readonly kernel: RegExp
  readonly has: readonly (keyof Instructions)[]
}

export const promises: readonly Promised[] = [
  { file: 'attention.cu', kernel: /^forward_kernel/, has: ['tensorProducts', 'matrixLoads', 'asyncCopies'] },
  {
    file: 'attention_backward.cu',
    kernel: /^(keys|queries)_kernel/,
    has: ['tensorProducts', 'matrixLoads', 'asyncCopies'],
  },
  { file: 'lora.cu', kernel: /^tile_product_kernel<bf16/, has: ['tensorProducts', 'matrixLoads'] },
  { file: 'lora.cu', kernel: /^tile_product_kernel<bf16, (Plain|Dropped)<bf16, true/, has: ['wideLoads'] },
  { file: 'rmsnorm.cu', kernel: /, true>/, has: ['wideLoads', 'wideStores'] },
  { file: 'rope.cu', kernel: /, true>/, has: ['wideLoads', 'wideStores'] },
  { file: 'swiglu.cu', kernel: /, true>/, has: ['wideLoads', 'wideStores'] },
  { file: 'nf4.cu', kernel: /^dequantize_kernel<\w+, true>/, has: ['wideStores'] },
  { file: 'few_rows.cu', kernel: /Nf4Words/, has: ['wideLoads'] },
  { file: 'cross_entropy.cu', kernel: /, true>/, has: ['wideLoads'] },
  { file: 'cross_entropy.cu', kernel: /^gradient_kernel<.*, true>/, has: ['wideStores'] },
]
