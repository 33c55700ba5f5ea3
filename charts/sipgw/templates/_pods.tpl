{{/* Shared parts of the pods of several components. */}}

{{/* Over zones too, where there are any. Not as a spread constraint: a node without the zone's label would then count
for none of them. All lanes of relays count as one. Called with (list $ "edge"). */}}
{{- define "sipgw.zoneAffinity" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 50
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels: {{- include "sipgw.selector" . | nindent 12 }}
{{- end -}}

{{/* Fields of a pod spec that a component's values set. Called with (list $ "edge"). */}}
{{- define "sipgw.podSpec" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "sipgw.fullname" $root }}-{{ index . 1 }}
automountServiceAccountToken: {{ eq (index . 1) "operator" }}
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- /* There is one Redis, whose template stays the same, so that a new release does not restart it. */}}
{{- $affinity := ternary dict (include "sipgw.zoneAffinity" . | fromYaml) (eq (index . 1) "redis") }}
{{- with merge (deepCopy $values.affinity) $affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "sipgw.selector" . | nindent 8 }}
{{- end -}}

{{/* Whether edges are a DaemonSet: "true", or nothing. A pod of it comes back on its node, at the address that callers
in a call have. */}}
{{- define "sipgw.hasEdgeOnEveryNode" -}}
{{- if and (eq .Values.edge.network "host") (kindIs "invalid" .Values.edge.replicas) }}true{{ end -}}
{{- end -}}

{{- define "sipgw.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The pod's own facts. A variable that uses another comes after it. */}}
{{- define "sipgw.env" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
- {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
{{- with .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/* The Secret with the password of Redis. */}}
{{- define "sipgw.redisSecret" -}}
{{- .Values.redis.passwordSecret.name | default (printf "%s-redis" (include "sipgw.fullname" .)) -}}
{{- end -}}

{{/* The address of Redis: SIPGW_REDIS_URL. Passwords, and URLs with one, come from files: nothing has to be encoded
here, and a changed one is read at the next connection. */}}
{{- define "sipgw.redisEnv" -}}
{{- $redis := .Values.redis -}}
{{- $url := $redis.url -}}
{{- if $redis.enabled -}}
{{- $url = printf "redis://%s-redis.%s.svc:6379/0" (include "sipgw.fullname" .) .Release.Namespace -}}
{{- else if $redis.urlSecret.name -}}
{{- $url = "file:///etc/sipgw/redis-url/url" -}}
{{- end -}}
{{- if include "sipgw.hasRedisPassword" . -}}
{{- $url = printf "%s%spassword_file=/etc/sipgw/redis-password/password" $url (ternary "&" "?" (contains "?" $url)) -}}
{{- end -}}
- {name: SIPGW_REDIS_URL, value: {{ $url | quote }}}
{{- if and (not $redis.enabled) $redis.caSecret.name }}
- {name: SSL_CERT_FILE, value: /etc/sipgw/redis/ca.crt}
{{- end }}
{{- end -}}

{{/* Whether the password is separate from the URL: "true", or nothing. */}}
{{- define "sipgw.hasRedisPassword" -}}
{{- if or .Values.redis.enabled .Values.redis.passwordSecret.name }}true{{ end -}}
{{- end -}}

{{/* Volumes and mounts: /tmp, the role's certificates, the CA of Redis. Called with (list $ "edge"). */}}
{{- define "sipgw.volumes" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- if ne $root.Values.tls.mode "off" }}
- name: tls
  secret: {secretName: {{ include "sipgw.fullname" $root }}-tls-{{ $component }}, defaultMode: 0440}
{{- end }}
{{- if has $component (list "edge" "registry") }}
{{- $redis := $root.Values.redis }}
{{- if include "sipgw.hasRedisPassword" $root }}
- name: redis-password
  secret: {secretName: {{ include "sipgw.redisSecret" $root }}, defaultMode: 0440, items: [{key: password, path: password}]}
{{- end }}
{{- if $redis.urlSecret.name }}
- name: redis-url
  secret: {secretName: {{ $redis.urlSecret.name }}, defaultMode: 0440, items: [{key: {{ $redis.urlSecret.key | quote }}, path: url}]}
{{- end }}
{{- if and (not $redis.enabled) $redis.caSecret.name }}
- name: redis-ca
  secret: {secretName: {{ $redis.caSecret.name }}, items: [{key: {{ $redis.caSecret.key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end -}}

{{- define "sipgw.volumeMounts" -}}
{{- $root := index . 0 -}}
- {name: tmp, mountPath: /tmp}
{{- if ne $root.Values.tls.mode "off" }}
- {name: tls, mountPath: /etc/sipgw/tls, readOnly: true}
{{- end }}
{{- if has (index . 1) (list "edge" "registry") }}
{{- $redis := $root.Values.redis }}
{{- if include "sipgw.hasRedisPassword" $root }}
- {name: redis-password, mountPath: /etc/sipgw/redis-password, readOnly: true}
{{- end }}
{{- if $redis.urlSecret.name }}
- {name: redis-url, mountPath: /etc/sipgw/redis-url, readOnly: true}
{{- end }}
{{- if and (not $redis.enabled) $redis.caSecret.name }}
- {name: redis-ca, mountPath: /etc/sipgw/redis, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{- define "sipgw.tlsFlags" -}}
{{- if ne .Values.tls.mode "off" }}
- --tls-dir=/etc/sipgw/tls
{{- end }}
{{- end -}}

{{/* gRPC probes of the kubelet. Called with a port. They wait for a slow start; then readiness changes within seconds. */}}
{{- define "sipgw.probes" -}}
startupProbe:
  grpc: {port: {{ . }}, service: liveness}
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  grpc: {port: {{ . }}, service: liveness}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
readinessProbe:
  grpc: {port: {{ . }}, service: readiness}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}
