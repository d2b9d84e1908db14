{{- define "driftlock.labels" -}}
app.kubernetes.io/part-of: driftlock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "driftlock.select" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/name: {{ .name }}
{{- end }}

{{- define "driftlock.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "driftlock.pod" -}}
automountServiceAccountToken: false
serviceAccountName: {{ .Release.Name }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "driftlock.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Secrets of accounts that an installation may lack: what needs them says so, and the rest runs. */ -}}
{{- define "driftlock.mayLack" -}}
STRIPE_API_KEY STRIPE_WEBHOOK_SECRETS SMTP_PASSWORD RESEND_API_KEY
{{- end }}

{{- /* Environment of a process: settings of all, its own secrets from the Secret that is there. */ -}}
{{- define "driftlock.env" -}}
{{- range $name, $value := .root.Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range $name, $value := .settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
- {name: HOST, value: "0.0.0.0"}
{{- if .root.Values.ingress.enabled }}
{{- if not (hasKey .root.Values.settings "API_URL") }}
- {name: API_URL, value: "https://{{ .root.Values.ingress.apiHost }}"}
{{- end }}
{{- if not (hasKey .root.Values.settings "CONSOLE_URL") }}
- {name: CONSOLE_URL, value: "https://{{ .root.Values.ingress.consoleHost }}"}
{{- end }}
{{- end }}
{{- if .root.Values.kafkaCaSecret }}
- {name: KAFKA_SSL_CA, value: /etc/kafka-ca/ca.crt}
{{- end }}
- name: KAFKA_SASL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .root.Values.existingSecret }}, key: KAFKA_SASL_PASSWORD, optional: true}}
{{- range .secrets }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $.root.Values.existingSecret }}, key: {{ . }}{{ if has . (splitList " " (include "driftlock.mayLack" $)) }}, optional: true{{ end }}}}
{{- end }}
{{- end }}

{{- /* Where the API asks every process whether it is ready, for /v1/status. */ -}}
{{- define "driftlock.statusTargets" -}}
{{- $found := list }}
{{- range $name, $process := .Values.processes }}
{{- if ne $name "api" }}
{{- $found = append $found (printf "%s=http://%s-%s:%v" $name $.Release.Name $name ($process.port | default 9100)) }}
{{- end }}
{{- end }}
{{- join "," $found }}
{{- end }}
