{{/* Peers that are nodes. */}}
{{- define "sipgw.nodePeers" -}}
{{- range .Values.networkPolicy.nodeCIDRs | default (list "0.0.0.0/0" "::/0") }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/* Egress to Redis, ours or another. */}}
{{- define "sipgw.toRedis" -}}
{{- if .Values.redis.enabled }}
- to:
    - podSelector:
        matchLabels: {{- include "sipgw.selector" (list . "redis") | nindent 10 }}
  ports:
    - {protocol: TCP, port: 6379}
{{- else }}
- ports: # an external Redis
    {{- range .Values.redis.externalPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end -}}
