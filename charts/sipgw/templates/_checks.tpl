{{/* Checks that no schema can express: values that contradict each other. Included once, by validate.yaml. */}}
{{- define "sipgw.checks" -}}
{{- $redis := .Values.redis -}}
{{- if and (not $redis.enabled) (not $redis.url) (not $redis.urlSecret.name) -}}
{{- fail "redis.enabled is false: give redis.url, or redis.urlSecret.name for a URL with a password" -}}
{{- end -}}
{{- if and $redis.enabled (or $redis.url $redis.urlSecret.name) -}}
{{- fail "redis.url or redis.urlSecret is given: set redis.enabled to false to use it" -}}
{{- end -}}
{{- if and $redis.password $redis.passwordSecret.name -}}
{{- fail "redis.password and redis.passwordSecret are given: give only one of them" -}}
{{- end -}}
{{- if and $redis.urlSecret.name $redis.passwordSecret.name -}}
{{- fail "redis.urlSecret and redis.passwordSecret are given: a URL in urlSecret has its password in it; else give redis.url" -}}
{{- end -}}
{{- if and $redis.password (not $redis.enabled) -}}
{{- fail "redis.password is for the release's own Redis: for another one give redis.passwordSecret, or redis.urlSecret" -}}
{{- end -}}
{{- if and $redis.enabled (eq $redis.passwordSecret.name (printf "%s-redis" (include "sipgw.fullname" .))) -}}
{{- fail (printf "redis.passwordSecret.name is %s, the name of the release's own Secret: give yours another name" $redis.passwordSecret.name) -}}
{{- end -}}
{{- if and (eq .Values.tls.mode "operator") (not .Values.operator.enabled) -}}
{{- fail "tls.mode is operator and operator.enabled is false: use tls.mode cert-manager or off" -}}
{{- end -}}
{{- if and $redis.enabled (not .Values.operator.enabled) (not $redis.password) (not $redis.passwordSecret.name) -}}
{{- fail "operator.enabled is false, and it is the operator that draws the password of Redis: give redis.passwordSecret.name, a Secret of yours, or redis.password" -}}
{{- end -}}
{{- if and (eq .Values.edge.network "service") (not .Values.edge.advertise) -}}
{{- fail "edge.network is service: give edge.advertise, the address that carriers reach the Service at" -}}
{{- end -}}
{{- include "sipgw.checkRtp" . -}}
{{- include "sipgw.checkPorts" . -}}
{{- end -}}

{{- define "sipgw.lastRtpPort" -}}
{{- sub (add (int .Values.relay.rtp.firstPort) (mul (int .Values.relay.lanes) (int .Values.relay.rtp.portsPerLane))) 1 -}}
{{- end -}}

{{- define "sipgw.checkRtp" -}}
{{- $first := int .Values.relay.rtp.firstPort -}}
{{- $last := int (include "sipgw.lastRtpPort" .) -}}
{{- $range := printf "relay.rtp: ports %d to %d (%d lanes of %d)" $first $last (int .Values.relay.lanes) (int .Values.relay.rtp.portsPerLane) -}}
{{- if gt $last 65535 -}}
{{- fail (printf "%s end above 65535: fewer lanes, fewer ports a lane, or a lower firstPort" $range) -}}
{{- end -}}
{{- if and (le $first 32767) (ge $last 30000) -}}
{{- fail (printf "%s meet the NodePorts 30000 to 32767: end below 30000" $range) -}}
{{- end -}}
{{- if and (le $first 60999) (ge $last 32768) -}}
{{- fail (printf "%s meet the kernel's local ports 32768 to 60999: end below 30000" $range) -}}
{{- end -}}
{{- end -}}

{{- define "sipgw.checkPorts" -}}
{{- $ports := dict -}}
{{- $first := int .Values.relay.rtp.firstPort -}}
{{- $last := int (include "sipgw.lastRtpPort" .) -}}
{{- range $name, $port := .Values.edge.ports -}}
{{- include "sipgw.claimPort" (list $ports $port (printf "edge.ports.%s" $name) $first $last) -}}
{{- end -}}
{{- range $lane := until (int .Values.relay.lanes) -}}
{{- range $name, $port := omit $.Values.relay.ports "step" -}}
{{- $claimed := add (int $port) (mul $lane (int $.Values.relay.ports.step)) -}}
{{- include "sipgw.claimPort" (list $ports $claimed (printf "relay.ports.%s of lane %d" $name $lane) $first $last) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Note that a port of the host is taken; fail when it was taken before. */}}
{{- define "sipgw.claimPort" -}}
{{- $ports := index . 0 -}}
{{- $port := int (index . 1) -}}
{{- $who := index . 2 -}}
{{- if hasKey $ports (toString $port) -}}
{{- fail (printf "host port %d is wanted by %s and by %s" $port (get $ports (toString $port)) $who) -}}
{{- end -}}
{{- if and (ge $port (int (index . 3))) (le $port (int (index . 4))) -}}
{{- fail (printf "host port %d of %s lies in the RTP ports %d to %d" $port $who (int (index . 3)) (int (index . 4))) -}}
{{- end -}}
{{- $_ := set $ports (toString $port) $who -}}
{{- end -}}
