{{/* The name of everything of this release. */}}
{{- define "lazarus.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* What tells this release's engines from all other pods; it never changes. */}}
{{- define "lazarus.selector" -}}
app.kubernetes.io/name: lazarus
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lazarus.labels" -}}
{{ include "lazarus.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "lazarus.image" -}}
{{- required "image.repository: name where you pushed the image that the Dockerfile builds" .Values.image.repository -}}
:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "lazarus.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "lazarus.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "lazarus.maintenanceServiceAccount" -}}
{{- if .Values.maintenanceServiceAccount.create }}{{ .Values.maintenanceServiceAccount.name | default (printf "%s-maintenance" (include "lazarus.name" .)) }}{{ else }}{{ .Values.maintenanceServiceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "lazarus.hasMaintenance" -}}
{{- if or (and (eq .Values.retention.mode "cronJob") (ne .Values.retention.keep "forever")) .Values.scrub.enabled }}yes{{ end }}
{{- end }}

{{/* How the store is reached: variables of every container. */}}
{{- define "lazarus.storeEnv" -}}
- name: LAZARUS_STORE
  value: {{ required "store.url: give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX" .Values.store.url | quote }}
{{- with .Values.store.shards }}
- name: LAZARUS_SHARDS
  value: {{ . | quote }}
{{- end }}
{{- if .Values.store.caSecret }}
- name: SSL_CERT_FILE
  value: /etc/lazarus/store-ca/ca.crt
{{- end }}
- name: RUST_LOG
  value: {{ .Values.engine.log | quote }}
{{- if .Values.engine.logJson }}
- name: LAZARUS_LOG_JSON
  value: "true"
{{- end }}
{{- range $name, $value := .Values.store.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .Values.engine.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "lazarus.storeEnvFrom" -}}
{{- if .Values.store.existingSecret }}
envFrom:
  - secretRef: {name: {{ .Values.store.existingSecret | quote }}}
{{- else if .Values.store.secret }}
envFrom:
  - secretRef: {name: {{ include "lazarus.name" . }}-store}
{{- end }}
{{- end }}

{{/* How an engine behaves; the same in the servers and in the waker. */}}
{{- define "lazarus.behaviour" -}}
- name: LAZARUS_LEASE
  value: {{ .Values.engine.lease | quote }}
- name: LAZARUS_GUARD_INTERVAL
  value: {{ .Values.engine.guardInterval | quote }}
- name: LAZARUS_MAX_ITERATIONS
  value: {{ .Values.engine.maxIterations | quote }}
- name: LAZARUS_CACHE
  value: {{ .Values.engine.cache | quote }}
{{- end }}

{{/* How long closed executions are kept; of whoever deletes them. */}}
{{- define "lazarus.retention" -}}
- name: LAZARUS_RETENTION
  value: {{ .Values.retention.keep | quote }}
{{- with .Values.retention.namespaces }}
{{- $all := list }}
{{- range $namespace, $keep := . }}{{ $all = append $all (printf "%s=%s" $namespace $keep) }}{{ end }}
- name: LAZARUS_NAMESPACE_RETENTION
  value: {{ join "," $all | quote }}
{{- end }}
{{- end }}

{{- define "lazarus.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lazarus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "lazarus.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* A command on a schedule: of a dict with root, name, account, schedule, args, env and deadline. */}}
{{- define "lazarus.cronJob" -}}
{{- $ := .root -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "lazarus.name" $ }}-{{ .name }}
  labels:
    {{- include "lazarus.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
spec:
  schedule: {{ .schedule | quote }}
  concurrencyPolicy: {{ .concurrency }}
  startingDeadlineSeconds: 60
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: {{ .deadline }}
      template:
        metadata:
          labels:
            app.kubernetes.io/name: lazarus-{{ .name }}
            app.kubernetes.io/instance: {{ $.Release.Name }}
            {{- with $.Values.podLabels }}{{ toYaml . | nindent 12 }}{{ end }}
          {{- with $.Values.podAnnotations }}
          annotations: {{- toYaml . | nindent 12 }}
          {{- end }}
        spec:
          restartPolicy: Never
          serviceAccountName: {{ .account }}
          securityContext: {{- include "lazarus.podSecurity" $ | nindent 12 }}
          {{- include "lazarus.placement" $ | nindent 10 }}
          containers:
            - name: {{ .name }}
              image: {{ include "lazarus.image" $ | quote }}
              imagePullPolicy: {{ $.Values.image.pullPolicy }}
              args: {{ toJson .args }}
              env:
                {{- include "lazarus.storeEnv" $ | nindent 16 }}
                {{- .env | nindent 16 }}
              {{- include "lazarus.storeEnvFrom" $ | nindent 14 }}
              resources: {{- toYaml $.Values.resources | nindent 16 }}
              securityContext: {{- include "lazarus.containerSecurity" $ | nindent 16 }}
              {{- if $.Values.store.caSecret }}
              volumeMounts:
                - {name: store-ca, mountPath: /etc/lazarus/store-ca, readOnly: true}
              {{- end }}
          {{- if $.Values.store.caSecret }}
          volumes:
            - name: store-ca
              secret: {secretName: {{ $.Values.store.caSecret | quote }}}
          {{- end }}
{{- end }}
