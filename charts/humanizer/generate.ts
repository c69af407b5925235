/**
 * What the chart repeats of other files, so that nobody keeps two copies: crds/*.yaml become templates/crds/*.yaml, and the
 * Lua health checks become argocd/argocd-cm.yaml. Deterministic; `make verify` fails when a copy is stale.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dump } from 'js-yaml'

const chart = new URL('./', import.meta.url)
const crds = new URL('../../crds/', chart)
const templates = new URL('templates/crds/', chart)
const customizations = new URL('argocd/resource_customizations/', chart)

/** The CRD word for word, but for a name and the keep annotation that values decide on. */
function crdTemplate(text: string, file: string): string {
  const escaped = text.replaceAll('{{', '{{ "{{" }}')
  const metadata = /^metadata:\n {2}name: .*\n/m
  if (!metadata.test(escaped)) throw new Error(`crds/${file}: expected metadata to begin with name`)
  const wrapped = escaped.replace(
    metadata,
    (found) =>
      `${found}  labels: {{- include "humanizer.labels" . | nindent 4 }}\n` +
      '  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n',
  )
  return `{{- /* Generated from crds/${file} by charts/humanizer/generate.ts. */}}\n{{- if .Values.crds.enabled }}\n${wrapped.trimEnd()}\n{{- end }}\n`
}

rmSync(templates, { recursive: true, force: true })
mkdirSync(templates, { recursive: true })
for (const file of readdirSync(crds).filter((name) => name.endsWith('.yaml')))
  writeFileSync(new URL(file, templates), crdTemplate(readFileSync(new URL(file, crds), 'utf8'), file))

const health: Record<string, string> = {}
for (const group of readdirSync(customizations).sort())
  for (const kind of readdirSync(new URL(`${group}/`, customizations)).sort())
    health[`resource.customizations.health.${group}_${kind}`] = readFileSync(
      new URL(`${group}/${kind}/health.lua`, customizations),
      'utf8',
    )
writeFileSync(
  new URL('argocd/argocd-cm.yaml', chart),
  `# Generated from resource_customizations/ by charts/humanizer/generate.ts. For a patch: see README.md.\n${dump(
    { data: health },
    { lineWidth: -1 },
  )}`,
)
