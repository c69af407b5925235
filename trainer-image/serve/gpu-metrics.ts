import { Gauge, type Registry } from 'prom-client'
import type { GpuReadings } from '../native/index.ts'

const gauges: readonly { name: string; help: string; of: (gpu: GpuReadings) => number | undefined }[] = [
  {
    name: 'utilization_ratio',
    help: 'Share of the last sample period, 1/6 to 1 s, in which the GPU ran a kernel.',
    of: ({ utilizationPercent: percent }) => percent && percent / 100,
  },
  { name: 'memory_used_bytes', help: 'Memory in use on the whole GPU, by anyone.', of: (gpu) => gpu.memoryUsedBytes },
  { name: 'memory_total_bytes', help: 'Memory of the whole GPU.', of: (gpu) => gpu.memoryTotalBytes },
  { name: 'power_watts', help: 'Power that the GPU takes.', of: (gpu) => gpu.powerWatts },
  { name: 'temperature_celsius', help: 'Temperature of the GPU.', of: (gpu) => gpu.temperatureCelsius },
]

/** Registers humanizer_serve_gpu_*, read when Prometheus asks. A figure that is not told has no sample. */
export function registerGpuMetrics(registry: Registry, readings: () => GpuReadings | undefined): void {
  for (const { name, help, of } of gauges)
    new Gauge({
      name: `humanizer_serve_gpu_${name}`,
      help,
      registers: [registry],
      collect() {
        const gpu = readings()
        const value = gpu && of(gpu)
        this.remove() // a gauge without labels begins as 0
        if (value !== undefined) this.set(value)
      },
    })
}
