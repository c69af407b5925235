/**
 * Bundles an operator with its packages into one file: `node operator/bundle.ts ENTRY OUTFILE` (docs/adr/0010). Of @kubernetes/client-node only
 * what is named below or imported by operator/kube is taken: its classes for every API are three quarters of what a start would read.
 */
import { build, type Plugin } from 'esbuild'

const client = '@kubernetes/client-node'
/** All that @dot-i/k8s-operator takes of it, by a require() that would keep everything. */
const ofTheBase = ['ApiextensionsV1Api', 'CoreV1Api', 'KubeConfig', 'Watch', 'loadYaml']

/** The client's modules have no effects but what they export, which its package.json does not say. */
const usedOnly: Plugin = {
  name: 'used-only',
  setup({ onResolve, onLoad, resolve }) {
    onResolve({ filter: /./ }, async ({ path, importer, kind, resolveDir, pluginData }) => {
      if (pluginData === usedOnly.name) return undefined
      if (path === client && importer.includes('@dot-i/k8s-operator')) return { path, namespace: usedOnly.name }
      if (path !== client && !importer.includes(client)) return undefined
      const found = await resolve(path, { kind, importer, resolveDir, pluginData: usedOnly.name })
      return found.path.includes(client) ? { ...found, sideEffects: false } : found
    })
    onLoad({ filter: /./, namespace: usedOnly.name }, () => ({
      contents: `export { ${ofTheBase.join(', ')} } from '${client}'`,
      resolveDir: import.meta.dirname,
    }))
  },
}

const [entry, outfile] = process.argv.slice(2)
if (entry === undefined || outfile === undefined) throw new Error('usage: node operator/bundle.ts ENTRY OUTFILE')
await build({
  entryPoints: [entry],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  logLevel: 'warning',
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  plugins: [usedOnly],
})
