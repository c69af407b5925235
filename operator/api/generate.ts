/**
 * crds/*.yaml -> operator/api/generated/<kind>.ts, so that the API server and the compiler read one schema.
 * `node operator/api/generate.ts` writes; `--check` fails when a file is stale. Deterministic: same input, same bytes.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { load } from 'js-yaml'
import { compile, type JSONSchema } from 'json-schema-to-typescript'

interface CustomResourceDefinition {
  readonly spec: {
    readonly group: string
    readonly names: { readonly kind: string; readonly plural: string }
    readonly versions: readonly {
      readonly name: string
      readonly schema: { readonly openAPIV3Schema: OpenApiSchema }
    }[]
  }
}

/** The part of OpenAPI v3 that structural schemas use and that matters to types. */
interface OpenApiSchema {
  type?: string
  description?: string
  properties?: Record<string, OpenApiSchema>
  items?: OpenApiSchema
  additionalProperties?: OpenApiSchema | boolean
  default?: unknown
  enum?: unknown[]
  required?: string[]
  [key: string]: unknown
}

const root = new URL('../../', import.meta.url)
const target = new URL('operator/api/generated/', root)

/**
 * What a reader of the API sees: defaulted fields are always there, so they are required; integers-or-strings are both;
 * everything else is closed, so that a misspelt field does not compile.
 */
function forReaders(schema: OpenApiSchema): JSONSchema {
  const empty = Object.keys(schema).find((keyword) => schema[keyword] === null)
  if (empty !== undefined)
    throw new Error(`schema keyword "${empty}" has no value; expected a description with a comma in quotes`)
  if (schema['x-kubernetes-int-or-string']) return described(schema, { type: ['integer', 'string'] })
  if (schema.type === 'array' && schema.items)
    return described(schema, { type: 'array', items: forReaders(schema.items) })
  if (schema.type !== 'object')
    return described(schema, { type: schema.type, ...(schema.enum && { enum: schema.enum }) } as JSONSchema)
  if (schema['x-kubernetes-preserve-unknown-fields'] || (!schema.properties && !schema.additionalProperties))
    return described(schema, { type: 'object', tsType: 'Record<string, unknown>' })
  if (typeof schema.additionalProperties === 'object')
    return described(schema, { type: 'object', additionalProperties: forReaders(schema.additionalProperties) })
  const properties = Object.entries(schema.properties ?? {})
  const required = new Set(schema.required)
  for (const [name, property] of properties) if (property.default !== undefined) required.add(name)
  return described(schema, {
    type: 'object',
    properties: Object.fromEntries(properties.map(([name, property]) => [name, forReaders(property)])),
    required: [...required],
    additionalProperties: false,
  })
}

const described = ({ description }: OpenApiSchema, schema: JSONSchema): JSONSchema =>
  description === undefined ? schema : { ...schema, description }

async function typesOf(crd: CustomResourceDefinition): Promise<string> {
  const { group, names, versions } = crd.spec
  const version = versions[0]!
  const schema = version.schema.openAPIV3Schema
  const { spec, status } = schema.properties!
  if (!spec || !status) throw new Error(`${names.plural}.${group}: the schema needs spec and status`)
  const part = (name: string, of: OpenApiSchema) =>
    compile(forReaders(of), `${names.kind}${name}`, {
      bannerComment: '',
      additionalProperties: false,
      ignoreMinAndMaxItems: true,
      format: true,
      style: { singleQuote: true, semi: false, printWidth: 120, tabWidth: 2, trailingComma: 'all' },
    })
  return `// Generated from crds/${names.kind.toLowerCase()}.yaml by operator/api/generate.ts. Do not edit.
import type { KubeObject } from '../../kube/cluster.ts'

/** ${(schema.description ?? names.kind).trim().replaceAll('\n', '\n * ')} */
export interface ${names.kind} extends KubeObject {
  apiVersion: '${group}/${version.name}'
  kind: '${names.kind}'
  spec: ${names.kind}Spec
  status?: ${names.kind}Status
}

${await part('Spec', spec)}
${await part('Status', status)}`
}

const check = process.argv.includes('--check')
const crds = new URL('crds/', root)
const files = existsSync(crds)
  ? readdirSync(crds)
      .filter((file) => file.endsWith('.yaml'))
      .sort()
  : []
mkdirSync(target, { recursive: true })
const stale: string[] = []
for (const file of files) {
  const text = await typesOf(load(readFileSync(new URL(file, crds), 'utf8')) as CustomResourceDefinition)
  const path = new URL(file.replace(/\.yaml$/, '.ts'), target)
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue
  if (check) stale.push(file)
  else writeFileSync(path, text)
}
if (stale.length > 0) {
  console.error(`operator/api/generated is older than ${stale.join(', ')}: run node operator/api/generate.ts`)
  process.exitCode = 1
}
