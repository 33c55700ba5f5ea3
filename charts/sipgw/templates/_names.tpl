{{/* Names and labels. */}}
{{- define "sipgw.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select a component's pods; fixed for the life of a release. Called with (list $ "edge"). */}}
{{- define "sipgw.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: sipgw
app.kubernetes.io/instance: {{ include "sipgw.fullname" $root }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "sipgw.labels" -}}
{{- $root := index . 0 -}}
{{ include "sipgw.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sipgw
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod, without the chart's version, which would roll every pod at every release; Redis has no version of ours. */}}
{{- define "sipgw.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "sipgw.selector" . }}
{{- if ne (index . 1) "redis" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
{{- end }}
app.kubernetes.io/part-of: sipgw
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Called with (list $ .Values.edge.image). */}}
{{- define "sipgw.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end -}}
{{ $image.repository }}:{{ $image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}

{{/* The address of each registry: a client whose connection dies takes the next one; a Service would still name the dead one. */}}
{{- define "sipgw.registry" -}}
{{ include "sipgw.fullname" . }}-registries.{{ .Release.Namespace }}.svc:{{ .Values.registry.ports.api }}
{{- end -}}
