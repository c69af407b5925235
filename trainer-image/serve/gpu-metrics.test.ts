import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import type { GpuReadings } from '../native/index.ts'
import { registerGpuMetrics } from './gpu-metrics.ts'

const samples = async (registry: Registry): Promise<string[]> =>
  (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))

test("the GPU's figures are read anew each time Prometheus asks, and what is not told has no sample", async () => {
  let told: GpuReadings | undefined = {
    utilizationPercent: 97,
    memoryUsedBytes: 5 * 2 ** 30,
    memoryTotalBytes: 80 * 2 ** 30,
    powerWatts: 312.5,
    temperatureCelsius: 64,
  }
  const registry = new Registry()
  registerGpuMetrics(registry, () => told)
  assert.deepEqual(await samples(registry), [
    'humanizer_serve_gpu_utilization_ratio 0.97',
    'humanizer_serve_gpu_memory_used_bytes 5368709120',
    'humanizer_serve_gpu_memory_total_bytes 85899345920',
    'humanizer_serve_gpu_power_watts 312.5',
    'humanizer_serve_gpu_temperature_celsius 64',
  ])
  told = { utilizationPercent: 0, problem: 'nvmlDeviceGetPowerUsage: Not Supported' }
  assert.deepEqual(await samples(registry), ['humanizer_serve_gpu_utilization_ratio 0'])
  told = undefined
  assert.deepEqual(await samples(registry), [])
})
