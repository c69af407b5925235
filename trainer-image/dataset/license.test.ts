import assert from 'node:assert/strict'
import { test } from 'node:test'
import { satisfies } from './license.ts'

const cases = [
  { license: 'MIT', allowed: ['MIT'], want: true },
  { license: 'mit', allowed: ['MIT'], want: true },
  { license: 'MIT', allowed: ['Apache-2.0'], want: false },
  { license: 'MIT OR GPL-3.0-only', allowed: ['MIT'], want: true },
  { license: 'MIT AND CC-BY-4.0', allowed: ['MIT'], want: false },
  { license: 'MIT AND CC-BY-4.0', allowed: ['MIT', 'CC-BY-4.0'], want: true },
  { license: '(MIT OR GPL-3.0-only) AND CC0-1.0', allowed: ['MIT', 'CC0-1.0'], want: true },
  { license: '(MIT OR GPL-3.0-only) AND CC0-1.0', allowed: ['MIT'], want: false },
  { license: 'A OR B AND C', allowed: ['A'], want: true },
  { license: 'A OR B AND C', allowed: ['B'], want: false },
  { license: 'GPL-2.0-only WITH Classpath-exception-2.0', allowed: ['GPL-2.0-only'], want: false },
  {
    license: 'GPL-2.0-only WITH Classpath-exception-2.0',
    allowed: ['gpl-2.0-only with classpath-exception-2.0'],
    want: true,
  },
  { license: 'our own licence', allowed: ['our own licence'], want: true },
  { license: 'our own licence', allowed: ['our'], want: false },
  { license: 'MIT OR', allowed: ['MIT'], want: false },
  { license: '(MIT', allowed: ['MIT'], want: false },
  { license: 'MIT) OR (MIT', allowed: ['MIT'], want: false },
]
for (const { license, allowed, want } of cases)
  test(`"${license}" is ${want ? '' : 'not '}allowed by [${allowed.join(', ')}]`, () =>
    assert.equal(satisfies(license, allowed), want))
