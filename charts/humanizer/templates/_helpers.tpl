{{/* Name of everything the release makes: {{ include "humanizer.fullname" . }} */}}
{{- define "humanizer.fullname" -}}
{{- if contains "humanizer" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-humanizer" (.Release.Name | trunc 30 | trimSuffix "-") }}
{{- end -}}
{{- end }}

{{/* Labels that never change, for selectors. Serving pods let in pods of app.kubernetes.io/name: humanizer. */}}
{{- define "humanizer.matchLabels" -}}
app.kubernetes.io/name: humanizer
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* All labels: {{ include "humanizer.labels" . | nindent 4 }} */}}
{{- define "humanizer.labels" -}}
{{ include "humanizer.matchLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Image reference: {{ include "humanizer.image" (list . .Values.operator.image) }} */}}
{{- define "humanizer.image" -}}
{{- $root := index . 0 }}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{- define "humanizer.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "humanizer.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "humanizer.signingSecretName" -}}
{{ .Values.signingKey.existingSecret | default (printf "%s-signing-key" (include "humanizer.fullname" .)) }}
{{- end }}

{{/* Restricted by Pod Security Standards; for a container. */}}
{{- define "humanizer.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "humanizer.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}
