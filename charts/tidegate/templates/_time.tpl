{{- /* Seconds of a duration such as 1m30s, rounded up. */ -}}
{{- define "tidegate.seconds" -}}
{{- $milliseconds := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $number := regexFind "[0-9]+" . | atoi -}}
{{- $milliseconds = add $milliseconds (mul $number (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit)) -}}
{{- end -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end }}

{{- /* The seconds that a data-plane pod must be given to end, as Drain.grace_period of dataplane/process/drain.py. */ -}}
{{- define "tidegate.grace" -}}
{{- $drain := .Values.dataplane.drain -}}
{{- $phases := 0 -}}
{{- range list $drain.lameDuck $drain.patience $drain.linger -}}
{{- $phases = add $phases (include "tidegate.seconds" . | atoi) -}}
{{- end -}}
{{- add $phases (include "tidegate.ending" . | atoi) -}}
{{- end }}
