{{- define "atmwatch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "atmwatch.selector" -}}
app.kubernetes.io/name: atmwatch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "atmwatch.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "atmwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: atmwatch
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "atmwatch.image" -}}
{{- if .Values.image.digest -}}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{- end -}}
{{- end -}}

{{- define "atmwatch.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ default (include "atmwatch.fullname" .) .Values.serviceAccount.name }}
{{- else -}}{{ default "default" .Values.serviceAccount.name }}{{- end -}}
{{- end -}}

{{/* What every process needs to reach Kafka. */}}
{{- define "atmwatch.kafkaEnv" -}}
- name: ATMWATCH_KAFKA__BOOTSTRAP
  value: {{ .Values.kafka.bootstrap | quote }}
- name: ATMWATCH_KAFKA__SECURITY_PROTOCOL
  value: {{ .Values.kafka.securityProtocol }}
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
- name: ATMWATCH_KAFKA__SASL_MECHANISM
  value: {{ .Values.kafka.saslMechanism }}
- name: ATMWATCH_KAFKA__SASL_USERNAME
  valueFrom: { secretKeyRef: { name: {{ required "kafka.existingSecret names the secret with username and password" .Values.kafka.existingSecret }}, key: username } }
- name: ATMWATCH_KAFKA__SASL_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .Values.kafka.existingSecret }}, key: password } }
{{- end }}
{{- if .Values.kafka.caSecret }}
- name: ATMWATCH_KAFKA__SSL_CAFILE
  value: /etc/atmwatch/kafka/ca.crt
{{- end }}
- name: ATMWATCH_KAFKA__SCOPES
  value: {{ .Values.scopes | toJson | quote }}
- name: ATMWATCH_LOG__LEVEL
  value: {{ .Values.logLevel }}
{{- end -}}

{{/* A role's pod.  Takes root, role (its name), values (its section). */}}
{{- define "atmwatch.pod" -}}
{{- $root := .root -}}{{- $role := .role -}}{{- $values := .values -}}{{- $v := $root.Values -}}
{{- $stateful := has $role (list "clusterer" "alerter") -}}
{{- $webhook := and (eq $role "alerter") $v.webhook.url -}}
{{- $rules := and (eq $role "alerter") $v.rules -}}
metadata:
  labels:
    {{- include "atmwatch.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $role }}
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    atmwatch/metrics: "true"
    {{- with $v.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- if or $v.podAnnotations $rules }}
  annotations:
    {{- with $v.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
    {{- if $rules }}
    checksum/rules: {{ $v.rules | sha256sum }} # a changed rule starts the pods anew
    {{- end }}
  {{- end }}
spec:
  serviceAccountName: {{ include "atmwatch.serviceAccount" $root }}
  automountServiceAccountToken: false # nothing here talks to the Kubernetes API
  # Without this a service named atmwatch-… would put ATMWATCH_… variables of its own into every pod.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 30
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- if $v.topologySpread }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "atmwatch.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $role }}
    {{- end }}
  {{- end }}
  securityContext: {{ toYaml $v.podSecurityContext | nindent 4 }}
  containers:
    - name: {{ $role }}
      image: {{ include "atmwatch.image" $root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [run, {{ $role }}]
      securityContext: {{ toYaml $v.containerSecurityContext | nindent 8 }}
      env:
        {{- include "atmwatch.kafkaEnv" $root | nindent 8 }}
        {{- if and $v.model (has $role (list "embedder" "clusterer")) }}
        - name: ATMWATCH_MODEL
          value: {{ $v.model | quote }}
        {{- end }}
        {{- if eq $role "view" }}
        - name: ATMWATCH_REDIS__URL
          valueFrom: { secretKeyRef: { name: {{ required "redis.existingSecret names the secret with the URL" $v.redis.existingSecret }}, key: url } }
        - name: ATMWATCH_VIEW_SECRET_FILE
          value: /etc/atmwatch/view/secret
        {{- end }}
        {{- if eq $role "gateway" }}
        - name: ATMWATCH_GATEWAY__KEYS_FILE
          value: /etc/atmwatch/gateway/keys
        {{- end }}
        {{- if $rules }}
        - name: ATMWATCH_RULES
          value: /etc/atmwatch/rules/rules.yaml
        {{- end }}
        {{- if $webhook }}
        - name: ATMWATCH_WEBHOOK__URL
          value: {{ $v.webhook.url | quote }}
        - name: ATMWATCH_WEBHOOK__SECRET_FILE
          value: /etc/atmwatch/webhook/secret
        {{- end }}
        {{- with $v.extraEnv }}{{ toYaml . | nindent 8 }}{{ end }}
        {{- with $values.extraEnv }}{{ toYaml . | nindent 8 }}{{ end }}
      ports:
        - { name: metrics, containerPort: 9464 }
        {{- if eq $role "gateway" }}
        - { name: http, containerPort: 8080 }
        {{- end }}
      # Alive from the first answer on, also while restoring; killing a process that restores only makes it start over.
      startupProbe:
        httpGet: { path: /livez, port: metrics }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /livez, port: metrics }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: /readyz, port: metrics }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources: {{ toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - { name: tmp, mountPath: /tmp }
        - { name: state, mountPath: /var/lib/atmwatch }
        {{- if $v.kafka.caSecret }}
        - { name: kafka-ca, mountPath: /etc/atmwatch/kafka, readOnly: true }
        {{- end }}
        {{- if eq $role "view" }}
        - { name: view-secret, mountPath: /etc/atmwatch/view, readOnly: true }
        {{- end }}
        {{- if eq $role "gateway" }}
        - { name: gateway-keys, mountPath: /etc/atmwatch/gateway, readOnly: true }
        {{- end }}
        {{- if $rules }}
        - { name: rules, mountPath: /etc/atmwatch/rules, readOnly: true }
        {{- end }}
        {{- if $webhook }}
        - { name: webhook, mountPath: /etc/atmwatch/webhook, readOnly: true }
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: { sizeLimit: 64Mi }
    {{- if not $stateful }}
    - name: state
      emptyDir: { sizeLimit: 64Mi }
    {{- end }}
    {{- if $v.kafka.caSecret }}
    - name: kafka-ca
      secret: { secretName: {{ $v.kafka.caSecret }}, items: [{ key: ca.crt, path: ca.crt }] }
    {{- end }}
    {{- if eq $role "view" }}
    - name: view-secret
      secret: { secretName: {{ required "viewSecret.existingSecret names the secret under which the view counts cards" $v.viewSecret.existingSecret }}, items: [{ key: {{ $v.viewSecret.key }}, path: secret }] }
    {{- end }}
    {{- if eq $role "gateway" }}
    - name: gateway-keys
      secret: { secretName: {{ required "gatewayKeys.existingSecret names the secret with the hashed API keys" $v.gatewayKeys.existingSecret }}, items: [{ key: {{ $v.gatewayKeys.key }}, path: keys }] }
    {{- end }}
    {{- if $rules }}
    - name: rules
      configMap: { name: {{ include "atmwatch.fullname" $root }}-rules }
    {{- end }}
    {{- if $webhook }}
    - name: webhook
      secret: { secretName: {{ required "webhook.existingSecret names the secret that requests are signed with" $v.webhook.existingSecret }}, items: [{ key: {{ $v.webhook.key }}, path: secret }] }
    {{- end }}
{{- end -}}
