/** A kind of the tests' own, and the smallest honest controller for it: the runtime is tested without our three kinds. */
import pino from 'pino'
import type { Controller } from '../../operator/controller/controller.ts'
import { settled } from '../../operator/controller/outcome.ts'
import type { Cluster, KubeObject } from '../../operator/kube/cluster.ts'
import { type Condition, readyFrom } from '../../operator/kube/conditions.ts'

export interface Widget extends KubeObject {
  spec: { value: string }
  status?: { conditions?: Condition[]; copied?: string }
}

export const widgetKind = { apiVersion: 'test.humanizer.dev/v1', kind: 'Widget', plural: 'widgets' }
export const widgetsPath = (namespace: string): string =>
  `/apis/${widgetKind.apiVersion}/namespaces/${namespace}/widgets`

export const widgetCrd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.test.humanizer.dev' },
  spec: {
    group: 'test.humanizer.dev',
    scope: 'Namespaced',
    names: { kind: 'Widget', plural: 'widgets', singular: 'widget' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: { type: 'object', properties: { value: { type: 'string', maxLength: 100 } } },
              status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        },
      },
    ],
  },
}

export const widget = (namespace: string, name: string, value: string): Widget => ({
  ...{ apiVersion: widgetKind.apiVersion, kind: widgetKind.kind },
  metadata: { name, namespace },
  spec: { value },
})

/** Copies spec.value into status and into a ConfigMap of the widget's name. */
export const widgetController = (cluster: Cluster): Controller<Widget> => ({
  name: 'widget',
  kind: widgetKind,
  children: [{ apiVersion: 'v1', kind: 'ConfigMap', plural: 'configmaps', ownerLabel: 'humanizer.dev/widget' }],
  async reconcile(widget, now) {
    const { name, namespace = '', uid = '', generation = 0 } = widget.metadata
    const child = await cluster.get({ apiVersion: 'v1', kind: 'ConfigMap', namespace, name })
    if ((child?.data as { value?: string } | undefined)?.value !== widget.spec.value)
      await cluster.apply({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: {
          name,
          namespace,
          labels: { 'app.kubernetes.io/managed-by': 'humanizer', 'humanizer.dev/widget': name },
          ownerReferences: [{ apiVersion: widget.apiVersion, kind: widget.kind, name, uid, controller: true }],
        },
        data: { value: widget.spec.value },
      })
    const says = { state: 'ready', reason: 'Copied', message: 'the ConfigMap holds the value' } as const
    const conditions = readyFrom(widget.status?.conditions, says, generation, now)
    await cluster.writeStatus(widget, { conditions, copied: widget.spec.value })
    if (widget.status?.copied === undefined) await cluster.event(widget, 'Normal', 'Copied', widget.spec.value)
    return settled
  },
})

export const silent = pino({ level: 'silent' })
