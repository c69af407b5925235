/** Specs of an AdapterRelease that the API server refuses, and its words. */

export const digest = `sha256:${'a'.repeat(64)}`
export const run = { run: { name: 'prose' } }
export const gate = { metric: 'evalLoss', max: '2.0' }

export const refused: { what: string; spec: unknown; name?: string; says: RegExp }[] = [
  { what: 'no spec', spec: undefined, says: /spec: Required/ },
  { what: 'no source', spec: {}, says: /spec.source: Required/ },
  { what: 'an empty source', spec: { source: {} }, says: /exactly one of run, digest and base/ },
  { what: 'two sources', spec: { source: { ...run, digest } }, says: /exactly one of run, digest and base/ },
  { what: 'base false', spec: { source: { base: false } }, says: /spec.source.base: expected true/ },
  { what: 'a run without a name', spec: { source: { run: { checkpoint: 'Best' } } }, says: /run.name: Required/ },
  { what: 'a run name in capitals', spec: { source: { run: { name: 'Prose' } } }, says: /spec.source.run.name/ },
  {
    what: 'a checkpoint that is no name',
    spec: { source: { run: { name: 'prose', checkpoint: 'best' } } },
    says: /checkpoint/,
  },
  {
    what: 'checkpoint-0',
    spec: { source: { run: { name: 'prose', checkpoint: 'checkpoint-0' } } },
    says: /checkpoint/,
  },
  { what: 'a short digest', spec: { source: { digest: 'sha256:abc' } }, says: /spec.source.digest/ },
  { what: 'a digest in capitals', spec: { source: { digest: digest.toUpperCase() } }, says: /spec.source.digest/ },
  {
    what: 'a gate without a bound',
    spec: { source: run, gates: [{ metric: 'evalLoss' }] },
    says: /exactly one of max, min and maxRegression/,
  },
  {
    what: 'a gate with two bounds',
    spec: { source: run, gates: [{ ...gate, maxRegression: '0', against: 'Active' }] },
    says: /exactly one of max, min and maxRegression/,
  },
  {
    what: 'a regression against nothing',
    spec: { source: run, gates: [{ metric: 'evalLoss', maxRegression: '0' }] },
    says: /against/,
  },
  {
    what: 'a maximum against something',
    spec: { source: run, gates: [{ ...gate, against: 'Active' }] },
    says: /against/,
  },
  {
    what: 'a metric that is no name',
    spec: { source: run, gates: [{ metric: 'eval loss', max: '1' }] },
    says: /spec.gates\[0\].metric/,
  },
  {
    what: 'a bound that is a number',
    spec: { source: run, gates: [{ metric: 'evalLoss', max: 2 }] },
    says: /max.*string/,
  },
  {
    what: 'a minimum beside a maximum',
    spec: { source: run, gates: [{ ...gate, min: '0' }] },
    says: /exactly one of max, min and maxRegression/,
  },
  {
    what: 'an unknown enforcement',
    spec: { source: run, gates: [{ ...gate, enforcement: 'Maybe' }] },
    says: /enforcement/,
  },
  { what: 'seventeen gates', spec: { source: run, gates: Array(17).fill(gate) }, says: /gates: Too many/ },
  {
    what: 'VLLM without an image',
    spec: { source: run, serving: { engine: 'VLLM' } },
    says: /vllm goes with engine VLLM/,
  },
  { what: 'a vLLM for our engine', spec: { source: run, serving: { vllm: { image: 'v' } } }, says: /only with it/ },
  {
    what: 'merged weights on vLLM',
    spec: { source: run, form: 'Merged', serving: { engine: 'VLLM', vllm: { image: 'v' } } },
    says: /Merged goes with spec.serving.engine Native/,
  },
  {
    what: 'a rank that vLLM does not know',
    spec: { source: run, serving: { engine: 'VLLM', vllm: { image: 'v', maxLoraRank: 48 } } },
    says: /maxLoraRank/,
  },
  { what: 'a push to nowhere', spec: { source: run, push: {} }, says: /exactly one of registry and s3/ },
  {
    what: 'a push to two places',
    spec: {
      source: run,
      push: { registry: { repository: 'ghcr.io/team/writer' }, s3: { bucket: 'models', secretRef: { name: 'aws' } } },
    },
    says: /exactly one of registry and s3/,
  },
  {
    what: 'a push to S3 without credentials',
    spec: { source: run, push: { s3: { bucket: 'models' } } },
    says: /spec.push.s3.secretRef: Required/,
  },
  {
    what: 'a prefix that begins with a slash',
    spec: { source: run, push: { s3: { bucket: 'models', prefix: '/a', secretRef: { name: 'aws' } } } },
    says: /spec.push.s3.prefix/,
  },
  {
    what: 'an endpoint with a path',
    spec: { source: run, push: { s3: { bucket: 'models', endpoint: 'https://a/b', secretRef: { name: 'aws' } } } },
    says: /spec.push.s3.endpoint/,
  },
  {
    what: 'a push to a tag',
    spec: { source: run, push: { registry: { repository: 'ghcr.io/team/writer:latest' } } },
    says: /spec.push.registry.repository/,
  },
  {
    what: 'a push of something else',
    spec: { source: run, push: { artifact: 'Weights', registry: { repository: 'ghcr.io/team/writer' } } },
    says: /spec.push.artifact/,
  },
  {
    what: 'a push with a Secret of another namespace',
    spec: {
      source: run,
      push: { registry: { repository: 'ghcr.io/team/writer', secretRef: { name: 'a', namespace: 'b' } } },
    },
    says: /unknown field "spec.push.registry.secretRef.namespace"/,
  },
  { what: 'an unknown form', spec: { source: run, form: 'merged' }, says: /spec.form/ },
  { what: 'an unknown way to go back', spec: { source: run, rollback: { mode: 'Maybe' } }, says: /spec.rollback.mode/ },
  { what: 'a limit in words', spec: { source: run, rollback: { maxErrorPercent: 'five' } }, says: /maxErrorPercent/ },
  { what: 'no replicas at all', spec: { source: run, serving: { replicas: 0 } }, says: /replicas/ },
  { what: 'too many replicas', spec: { source: run, serving: { replicas: 65 } }, says: /replicas/ },
  { what: 'a privileged port', spec: { source: run, serving: { port: 80 } }, says: /port/ },
  { what: 'the port of the signed calls', spec: { source: run, serving: { port: 9443 } }, says: /9443 is taken/ },
  { what: 'a model name with blanks', spec: { source: run, serving: { modelName: 'my model' } }, says: /modelName/ },
  {
    what: 'a quantity that is none',
    spec: { source: run, pod: { resources: { limits: { cpu: 'many' } } } },
    says: /limits/,
  },
  {
    what: 'a misspelt field',
    spec: { source: run, serving: { replica: 1 } },
    says: /unknown field "spec.serving.replica"/,
  },
  {
    what: 'a third reclaim policy',
    spec: { source: run, storage: { reclaimPolicy: 'Recycle' } },
    says: /reclaimPolicy/,
  },
  {
    what: 'a claim name that is no label value',
    spec: { source: run, storage: { claimName: 'a'.repeat(64) } },
    says: /claimName: Too long/,
  },
  { what: 'a claim name with dots', spec: { source: run, storage: { claimName: 'a.b' } }, says: /claimName/ },
  {
    what: "a label of the operator's own",
    spec: { source: run, pod: { labels: { 'humanizer.dev/release': 'x' } } },
    says: /labels must not start with humanizer.dev/,
  },
  {
    what: 'the label that says who manages it',
    spec: { source: run, pod: { labels: { 'app.kubernetes.io/managed-by': 'helm' } } },
    says: /labels must not start with humanizer.dev/,
  },
  {
    what: 'a label whose value is none',
    spec: { source: run, pod: { labels: { team: 'a b' } } },
    says: /spec.pod.labels.team/,
  },
  {
    what: 'an affinity of four kinds',
    spec: { source: run, pod: { affinity: { a: {}, b: {}, c: {}, d: {} } } },
    says: /affinity: Too many/,
  },
  {
    what: 'a runtime class in capitals',
    spec: { source: run, pod: { runtimeClassName: 'NVIDIA' } },
    says: /runtimeClassName/,
  },
  { what: 'a claim name with a slash', spec: { source: run, storage: { claimName: 'a/b' } }, says: /claimName/ },
  {
    what: 'a name of 41 characters',
    spec: { source: run },
    name: 'a'.repeat(41),
    says: /metadata.name: expected at most 40/,
  },
  { what: 'a name that begins with a digit', spec: { source: run }, name: '1a', says: /metadata.name/ },
  ...[0, 100, 101, -5].map((percent) => ({
    what: `a step of ${percent} %`,
    spec: { source: run, strategy: { steps: [{ percent }] } },
    says: new RegExp(
      `spec\\.strategy\\.steps\\[0\\]\\.percent: Invalid value: ${percent}: .* should be (greater|less) than or equal to (1|99)`,
    ),
  })),
  ...[0, -60].map((pauseSeconds) => ({
    what: `a pause of ${pauseSeconds} s`,
    spec: { source: run, strategy: { steps: [{ percent: 5, pauseSeconds }] } },
    says: new RegExp(`steps\\[0\\]\\.pauseSeconds: Invalid value: ${pauseSeconds}: .* greater than or equal to 1`),
  })),
  {
    what: 'a strategy of no steps',
    spec: { source: run, strategy: { steps: [] } },
    says: /spec.strategy.steps: .*at least 1/,
  },
  {
    what: 'steps that go down',
    spec: { source: run, strategy: { steps: [{ percent: 50 }, { percent: 5 }] } },
    says: /spec.strategy.steps: expected percent never to go down/,
  },
  ...[0, -1, 2592001].map((deadlineSeconds) => ({
    what: `a deadline of ${deadlineSeconds} s`,
    spec: { source: run, review: { required: true, deadlineSeconds } },
    says: new RegExp(`spec\\.review\\.deadlineSeconds: Invalid value: ${deadlineSeconds}`),
  })),
  {
    what: 'one digest approved and rejected',
    spec: { source: run, review: { approvedDigest: digest, rejectedDigest: digest } },
    says: /spec.review: approvedDigest and rejectedDigest are the same; expected two digests/,
  },
  {
    what: 'somebody who approved nothing',
    spec: { source: run, review: { approvedBy: 'ann' } },
    says: /spec.review.approvedBy goes with approvedDigest/,
  },
  {
    what: 'the approval of a name',
    spec: { source: run, review: { approvedDigest: 'prose/checkpoint-24' } },
    says: /spec.review.approvedDigest/,
  },
  { what: 'a dry run that is perhaps one', spec: { source: run, dryRun: 'perhaps' }, says: /spec.dryRun.*boolean/ },
  {
    what: 'errors beyond all requests',
    spec: { source: run, rollback: { maxErrorPercent: '250' } },
    says: /spec.rollback.maxErrorPercent is 250, expected at most 100/,
  },
  {
    what: 'fewer errors than none',
    spec: { source: run, rollback: { maxErrorPercent: '-1' } },
    says: /maxErrorPercent/,
  },
  {
    what: 'a window of five seconds',
    spec: { source: run, rollback: { windowSeconds: 5 } },
    says: /spec.rollback.windowSeconds: Invalid value: 5: .* greater than or equal to 10/,
  },
]
