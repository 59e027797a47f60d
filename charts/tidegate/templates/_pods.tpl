{{- /* What the pods of both components share: (list . "controller" .Values.controller). Their labels have no versions: a
new one of the chart alone replaces no pod. */ -}}
{{- define "tidegate.podLabels" -}}
{{ include "tidegate.selector" . }}
{{- range list (index . 0).Values.commonLabels (index . 2).podLabels }}
{{- with . }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tidegate.podSpec" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
serviceAccountName: {{ include "tidegate.fullname" $root }}-{{ $component }}
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- include "tidegate.podSecurity" $root | nindent 0 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- if $values.affinity }}
  {{- toYaml $values.affinity | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "tidegate.selector" . | nindent 14 }}
  {{- end }}
topologySpreadConstraints:
  {{- $selector := dict "labelSelector" (dict "matchLabels" (include "tidegate.selector" . | fromYaml)) }}
  {{- $even := dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway" }}
  {{- range $values.topologySpreadConstraints | default (list $even) }}
  - {{ merge (deepCopy .) $selector | toYaml | nindent 4 | trim }}
  {{- end }}
{{- end }}

{{- define "tidegate.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "tidegate.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- /* Who the pod is. */ -}}
{{- define "tidegate.identity" -}}
{{- range $name, $path := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" "POD_IP" "status.podIP" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
{{- end }}

{{- /* An environment variable from an entry of a Secret, if there is one: (list NAME ENTRY). */ -}}
{{- define "tidegate.secretEnv" -}}
{{- $entry := index . 1 -}}
{{- with $entry.existingSecret }}
- name: {{ index $ 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $entry.key }}
{{- end }}
{{- end }}
