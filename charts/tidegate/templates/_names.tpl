{{- /* The name that all names begin with. */ -}}
{{- define "tidegate.fullname" -}}
{{- if contains "tidegate" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-tidegate{{ end }}
{{- end }}

{{- /* What finds the objects of a component: (list . "controller"). */ -}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* The labels of an object of a component: (list . "controller"). */ -}}
{{- define "tidegate.labels" -}}
{{- $root := index . 0 -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* metadata of a namespaced object of a component: (list . "controller" NAME). */ -}}
{{- define "tidegate.metadata" -}}
name: {{ index . 2 }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "tidegate.labels" . | nindent 2 }}
{{- end }}

{{- /* The image of a component: (list . .Values.controller.image). */ -}}
{{- define "tidegate.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The port of the Service through which clients come. */ -}}
{{- define "tidegate.port" -}}
{{ if .Values.dataplane.tls.existingSecret }}443{{ else }}80{{ end }}
{{- end }}

{{- define "tidegate.scheme" -}}
{{ if .Values.dataplane.tls.existingSecret }}https{{ else }}http{{ end }}
{{- end }}
