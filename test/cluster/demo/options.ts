/** What the demo may be asked for. */
import { parseArgs } from 'node:util'

export interface Options {
  /** A user's own cluster, by its context in the kubeconfig, and where its images are pushed; both absent: the cluster of up.sh. */
  readonly own: { readonly context: string; readonly registry: string } | undefined
  /** Values of the chart: StorageClass and access mode of the claim. */
  readonly values: readonly string[]
  /** Two steps and short answers: the same path in a minute, for a test. */
  readonly short: boolean
}

export function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      context: { type: 'string' },
      registry: { type: 'string' },
      'storage-class': { type: 'string' },
      'access-mode': { type: 'string' },
      short: { type: 'boolean', default: false },
    },
  })
  const { context, registry } = values
  if ((context === undefined) !== (registry === undefined)) {
    console.error('CONTEXT and REGISTRY go together: the cluster pulls the images that are pushed to REGISTRY.')
    process.exit(64)
  }
  return {
    own: context === undefined || registry === undefined ? undefined : { context, registry },
    values: [
      ...(values['storage-class'] ? [`storage.className=${values['storage-class']}`] : []),
      ...(values['access-mode'] ? [`storage.accessMode=${values['access-mode']}`] : []),
    ],
    short: values.short,
  }
}
