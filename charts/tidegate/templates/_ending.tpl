{{- /* Made from dataplane/process/drain.py by `python -m charts.generate`; edit that. */ -}}
{{- define "tidegate.ending" -}}23{{- end }}
