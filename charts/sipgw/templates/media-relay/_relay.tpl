{{/* The pod of a relay in a lane; the lane and the revision are arguments. Called with (dict "root" $ "lane" 0 "revision" ""). */}}
{{- define "sipgw.relayPod" -}}
{{- $root := .root }}
{{- $relay := $root.Values.relay }}
{{- $shift := mul .lane (int $relay.ports.step) }}
{{- $control := add (int $relay.ports.control) $shift }}
{{- $health := add (int $relay.ports.health) $shift }}
{{- $metrics := add (int $relay.ports.metrics) $shift }}
{{- $first := add (int $relay.rtp.firstPort) (mul .lane (int $relay.rtp.portsPerLane)) }}
{{- $last := sub (add $first (int $relay.rtp.portsPerLane)) 1 -}}
metadata:
  labels:
    {{- include "sipgw.podLabels" (list $root "relay") | nindent 4 }}
    sipgw.io/lane: {{ .lane | quote }}
  {{- with $relay.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  terminationGracePeriodSeconds: {{ $relay.terminationGracePeriodSeconds }}
  {{- include "sipgw.podSpec" (list $root "relay") | nindent 2 }}
  containers:
    - name: relay
      image: {{ include "sipgw.image" (list $root $relay.image) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - --name=$(POD_NAME)
        - --lane={{ .lane }}
        - --ordinal=$(POD_INDEX)
        - --node=$(NODE_NAME)
        - --listen=$(POD_IP):{{ $control }}
        - --bind=$(POD_IP)
        - --advertise=$(HOST_IP)
        - --rtp-ports={{ $first }}-{{ $last }}
        - --registry={{ include "sipgw.registry" $root }}
        - --health=$(POD_IP):{{ $health }}
        - --admin=$(POD_IP):{{ $metrics }}
        - --capacity={{ $relay.capacity }}
        - --revision={{ .revision }}
        - --drain-seconds={{ sub (int $relay.terminationGracePeriodSeconds) 10 }}
        - --media-timeout={{ $relay.mediaTimeoutSeconds }}
        - --log-level={{ $root.Values.logLevel }}
        {{- include "sipgw.tlsFlags" $root | nindent 8 }}
      env:
        {{- include "sipgw.env" $root | nindent 8 }}
        - {name: POD_INDEX, valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}}
        {{- with $relay.extraEnv }}{{ toYaml . | nindent 8 }}{{ end }}
      # Declared so that the scheduler keeps a second relay of this lane off the node. RTP ports need no declaration.
      ports:
        - {name: control, containerPort: {{ $control }}, hostPort: {{ $control }}}
        - {name: health, containerPort: {{ $health }}, hostPort: {{ $health }}}
        - {name: metrics, containerPort: {{ $metrics }}, hostPort: {{ $metrics }}}
      {{- include "sipgw.probes" $health | nindent 6 }}
      resources: {{- toYaml $relay.resources | nindent 8 }}
      securityContext: {{- include "sipgw.securityContext" $root | nindent 8 }}
      volumeMounts:
        {{- include "sipgw.volumeMounts" (list $root "relay") | nindent 8 }}
        {{- with $relay.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    {{- include "sipgw.volumes" (list $root "relay") | nindent 4 }}
    {{- with $relay.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end -}}

{{/* A revision for all lanes that changes with the pods: the registry fills the newest revision first. */}}
{{- define "sipgw.relayRevision" -}}
{{- include "sipgw.relayPod" (dict "root" . "lane" 0 "revision" "") | sha256sum | trunc 10 -}}
{{- end -}}
